"""The configuration of a valuation: every setting, its type, its limits and its meaning.

A configuration comes from a preset (``shapley_core/presets/*.yaml``) and overrides with dotted keys
(``finetuning.steps=50``), is validated as a whole before anything expensive starts, and travels through the
pipeline as ``config.yaml``, which is enough to run the valuation again.
"""

from collections.abc import Mapping
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError, field_validator, model_validator

from shapley_core.errors import UserError, did_you_mean


class Section(BaseModel):
    """A part of the configuration: unknown keys are errors, values never change after validation."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class DigitsConfig(Section):
    """Who is a contributor of scikit-learn's digits."""

    split: Literal["by_digit", "dirichlet"] = Field(
        "by_digit",
        description="by_digit: everybody has one digit class or a part of it; dirichlet: everybody has some of several",
    )
    contributors_per_digit: int = Field(
        1, ge=1, le=50, description="by_digit: contributors that share a digit class, a stretch of the file each"
    )
    n_contributors: int = Field(20, ge=2, le=100, description="dirichlet: contributors among whom all digits are split")
    concentration: float = Field(
        0.1, gt=0, le=1000, description="dirichlet: of the shares of a digit; the smaller, the fewer have most of it"
    )
    seed: int = Field(0, ge=0, description="dirichlet: of the draw")


class Cifar100Config(Section):
    """Which classes of CIFAR-100 are contributors."""

    classes: Literal["paper", "authors"] = Field(
        "paper", description="the 20 classes of the paper's four superclasses, or the 20 that its authors' code keeps"
    )


class CelebAHQConfig(Section):
    """Which people of CelebA-HQ are contributors."""

    identities: tuple[str, ...] = Field((), description="these identities; empty: n_identities are drawn")
    n_identities: int = Field(50, ge=2, description="identities to draw (paper: 50)")
    min_images: int = Field(15, ge=1, description="images that an identity must have (paper: 15)")
    seed: int = Field(0, ge=0, description="of the draw")


class ArtBenchConfig(Section):
    """Which style of ArtBench-10 is valued."""

    style: Literal[
        "art_nouveau",
        "baroque",
        "expressionism",
        "impressionism",
        "post_impressionism",
        "realism",
        "renaissance",
        "romanticism",
        "surrealism",
        "ukiyo_e",
    ] = "post_impressionism"


class OpenMojiConfig(Section):
    """Which emoji are valued, and who of their designers is a contributor of their own."""

    min_images: int = Field(20, ge=1, description="images that a designer must have to be a contributor by name")
    others: Literal["together", "left_out"] = Field(
        "together", description="designers of fewer images: one contributor 'others', or left out"
    )
    groups: tuple[str, ...] = Field((), description="groups of emoji that are valued; empty: all")


class HuggingFaceConfig(Section):
    """The split and columns of a Hugging Face data set."""

    split: str = "train"
    image: str = "image"
    contributor: str = "contributor"
    label: str = Field("", description="column of labels; empty: there are none")
    caption: str = Field("", description="column of captions; empty: there are none")


class DataConfig(Section):
    """Where the training images and their contributors come from, and how an image is brought in."""

    source: Literal[
        "artbench", "celebahq", "cifar100", "digits", "hugging_face", "image_folder", "manifest", "openmoji"
    ] = "digits"
    path: str = Field("", description="folder, table or archive, local or s3://, as the source wants it (docs/data.md)")
    resolution: int = Field(ge=4, le=2048, description="pixels per side; images are resized to it")
    mode: Literal["L", "RGB"] = Field(description="Pillow mode of the training images: L (grey) or RGB")
    skip_bad_images: bool = Field(False, description="count and skip unreadable images instead of stopping")
    digits: DigitsConfig = DigitsConfig()
    cifar100: Cifar100Config = Cifar100Config()
    celebahq: CelebAHQConfig = CelebAHQConfig()
    artbench: ArtBenchConfig = ArtBenchConfig()
    openmoji: OpenMojiConfig = OpenMojiConfig()
    hugging_face: HuggingFaceConfig = HuggingFaceConfig()

    @model_validator(mode="after")
    def _path_where_needed(self) -> "DataConfig":
        if self.source not in ("digits", "openmoji") and not self.path:
            raise ValueError(f"source '{self.source}' needs data.path, a folder, file or s3:// address")
        return self

    @property
    def channels(self) -> int:
        """Channels of an image: 1 for grey, 3 for RGB."""
        return {"L": 1, "RGB": 3}[self.mode]


class AutoencoderConfig(Section):
    """The autoencoder of latent diffusion (arXiv 2112.10752): frozen, the same for everybody.

    Diffusers' ``VQModel`` in the family ldm, and ``AutoencoderKL`` in an own base of the family lora.
    """

    weights: str = Field(
        "",
        description="a trained VQModel in diffusers' layout: folder, s3:// address or hub name; empty: one is trained "
        "on everybody's images first",
    )
    block_out_channels: tuple[PositiveInt, ...] = Field((32, 64), min_length=2)
    layers_per_block: int = Field(1, ge=1)
    norm_num_groups: int = Field(8, ge=1)
    latent_channels: int = Field(3, ge=1)
    num_vq_embeddings: int = Field(256, ge=2, description="entries of a VQModel's code book")
    steps: int = Field(2000, ge=1)
    batch_size: int = Field(32, ge=2)
    learning_rate: float = Field(1e-3, gt=0)

    @property
    def factor(self) -> int:
        """Pixels per latent pixel and side."""
        return int(2 ** (len(self.block_out_channels) - 1))


class TextEncoderConfig(Section):
    """The text encoder of an own base model (transformers ``CLIPTextModel``), and the words it knows."""

    hidden_size: int = Field(64, ge=8)
    n_layers: int = Field(2, ge=1)
    n_heads: int = Field(4, ge=1)
    n_tokens: int = Field(16, ge=3, description="tokens of a caption, beginning and end included; longer ones are cut")
    vocabulary: int = Field(2048, ge=300, description="most tokens that are learnt from the captions")

    @model_validator(mode="after")
    def _heads_share(self) -> "TextEncoderConfig":
        if self.hidden_size % self.n_heads:
            raise ValueError(f"hidden_size {self.hidden_size} must be a multiple of the {self.n_heads} heads")
        return self


#: Arithmetic of the network's matrix products; weights, optimiser and everything around them stay float32. "auto" is
#: bfloat16 where the device has matrix instructions for it.
Precision = Literal["float32", "bfloat16", "auto"]


class TrainingConfig(Section):
    """One run of the diffusion loss (paper eq. 1) over some images: full, pruned or a coalition's."""

    steps: int = Field(ge=1)
    batch_size: int = Field(64, ge=2)
    learning_rate: float = Field(1e-4, gt=0)
    weight_decay: float = Field(0.0, ge=0)
    ema_decay: float = Field(
        0.9999, ge=0, lt=1, description="upper limit of the EMA decay; sampling uses the EMA weights"
    )
    gradient_clip: float = Field(1.0, gt=0, description="largest norm of a step's gradient")
    random_flip: bool = Field(False, description="flip half of the images left to right")
    optimizer: Literal["adamw", "adam8bit"] | None = Field(
        None, description="adam, or null: Adam; adam8bit: its state in 8 bits (arXiv 2110.02861), with CUDA"
    )
    learning_rate_schedule: Literal["cosine"] | None = Field(
        None, description="cosine: learning_rate falls to zero at the last step; null: it is constant"
    )
    warmup_steps: int | None = Field(None, ge=1, description="steps over which the rate rises from zero; null: none")
    micro_batch_size: int | None = Field(
        None, ge=1, description="images of a step that are in memory at once; null: all; changes results by rounding"
    )
    precision: Precision = Field("float32", description="auto: bfloat16 where the device computes with it")

    @field_validator("optimizer", mode="before")
    @classmethod
    def _adam_needs_no_name(cls, name: Any) -> Any:
        # Absent, so that models kept before there was a choice keep their keys.
        return None if name == "adam" else name


class BaseModelConfig(Section):
    """The Stable Diffusion model (arXiv 2112.10752) that a LoRA adapts: frozen, the same for everybody.

    Either ``weights``, or what an own one is trained with: ``data``, ``text_encoder``, ``training``, and the
    autoencoder and blocks of :class:`ModelConfig`.
    """

    weights: str = Field(
        "", description="a Stable Diffusion model in diffusers' layout: folder, s3:// address or hub name"
    )
    data: DataConfig | None = Field(None, description="images with captions, of which no contributor is valued")
    text_encoder: TextEncoderConfig = TextEncoderConfig()
    training: TrainingConfig | None = Field(None, description="of UNet and text encoder together")

    @model_validator(mode="after")
    def _one_way(self) -> "BaseModelConfig":
        if bool(self.weights) == bool(self.data and self.training):
            raise ValueError("the base model needs either weights, or data and training of an own one")
        return self


class LoraConfig(Section):
    """The adapter that is trained in the family lora (arXiv 2106.09685), on the attention of the UNet."""

    rank: int = Field(ge=1)
    prompt: str = Field(description="what every training image is called, and what images are generated from")
    base: BaseModelConfig


class ModelConfig(Section):
    """The UNet; sample size and channels come from the data, or from the autoencoder.

    Diffusers' ``UNet2DModel``, or in an own base of the family lora ``UNet2DConditionModel``.
    """

    family: Literal["ddpm", "ldm", "lora"] = Field(
        "ddpm",
        description="diffusion of pixels (arXiv 2006.11239), of an autoencoder's latents (arXiv 2112.10752), or an "
        "adapter (arXiv 2106.09685) of a Stable Diffusion model",
    )
    autoencoder: AutoencoderConfig | None = Field(None, description="of the family ldm, and of an own base")
    lora: LoraConfig | None = Field(None, description="of the family lora")
    block_out_channels: tuple[PositiveInt, ...] = ()
    down_block_types: tuple[Literal["DownBlock2D", "AttnDownBlock2D", "CrossAttnDownBlock2D"], ...] = ()
    up_block_types: tuple[Literal["UpBlock2D", "AttnUpBlock2D", "CrossAttnUpBlock2D"], ...] = ()
    layers_per_block: int = Field(2, ge=1)
    norm_num_groups: int = Field(32, ge=1)
    add_attention: bool = Field(True, description="self-attention in the middle block")
    attention_head_dim: int | None = Field(8, ge=1, description="channels per attention head; null: one head")

    @property
    def is_given(self) -> bool:
        """Is the UNet that of a given base model, rather than the one described here?"""
        return self.lora is not None and bool(self.lora.base.weights)

    @model_validator(mode="after")
    def _parts_of_the_family(self) -> "ModelConfig":
        wanted = {
            "lora": self.family == "lora",
            "autoencoder": self.family == "ldm" or (self.family == "lora" and not self.is_given),
            "block_out_channels": not self.is_given,
        }
        for part, needed in wanted.items():
            if needed != bool(getattr(self, part)):
                whose = "with a given base " if self.is_given else ""
                raise ValueError(f"the family {self.family} {whose}{'needs' if needed else 'has no'} model.{part}")
        return self

    @model_validator(mode="after")
    def _blocks_of_the_family(self) -> "ModelConfig":
        other = "Attn" if self.family == "lora" else "CrossAttn"
        wrong = [block for block in (*self.down_block_types, *self.up_block_types) if block.startswith(other)]
        if wrong:
            raise ValueError(f"the family {self.family} has no blocks of type {wrong[0]}")
        return self

    @model_validator(mode="after")
    def _blocks_agree(self) -> "ModelConfig":
        n = len(self.block_out_channels)
        if len(self.down_block_types) != n or len(self.up_block_types) != n:
            raise ValueError(f"block_out_channels names {n} blocks: down_block_types and up_block_types must too")
        odd = [c for c in self.block_out_channels if c % self.norm_num_groups]
        if odd:
            raise ValueError(
                f"norm_num_groups {self.norm_num_groups} must divide every block width; it does not divide {odd}"
            )
        return self

    @model_validator(mode="after")
    def _attention_has_heads(self) -> "ModelConfig":
        widths = self.block_out_channels
        blocks = [
            *zip(widths, self.down_block_types, strict=True),
            *zip(widths[::-1], self.up_block_types, strict=True),
        ]
        attended = [width for width, block in blocks if "Attn" in block]
        if self.add_attention and widths:
            attended.append(widths[-1])
        if self.attention_head_dim and attended and self.attention_head_dim > min(attended):
            raise ValueError(
                f"attention_head_dim {self.attention_head_dim} is more than the {min(attended)} channels of a block "
                "with attention"
            )
        return self


class NoiseScheduleConfig(Section):
    """The forward process q(x_t | x_0) (paper §2.1)."""

    num_train_timesteps: int = Field(1000, ge=2)
    beta_start: float = Field(1e-4, gt=0, lt=1)
    beta_end: float = Field(0.02, gt=0, lt=1)
    beta_schedule: Literal["linear", "scaled_linear", "squaredcos_cap_v2"] = "linear"


class UnlearningConfig(Section):
    """Forgetting the images of those who are not in the coalition (paper appendix D.4)."""

    epochs: float = Field(1.0, gt=0, description="passes over the removed images")
    batch_size: int = Field(64, ge=2)
    learning_rate: float = Field(1e-5, gt=0, description="of gradient ascent (authors' code: 1e-5)")
    fisher_batches: int = Field(32, ge=1, description="gradients in the Fisher matrix of influence unlearning")
    damping: float = Field(1e-2, gt=0, description="added to that matrix's diagonal; a larger one takes shorter steps")


class PruningConfig(Section):
    """Structural magnitude pruning of the trained UNet (paper §3.2), and the fine-tuning on everybody after it."""

    ratio: float = Field(0.3, ge=0, lt=1, description="share of the channels, or of an adapter's ranks, to remove")
    method: Literal["magnitude", "svd"] = Field(
        "magnitude", description="the paper's; svd: an adapter's singular components instead of those it was trained in"
    )
    finetuning: TrainingConfig


class GenerationConfig(Section):
    """Sampling; initial noise is seeded per image index."""

    n_images: int = Field(ge=2)
    solver: Literal["ddim", "pndm", "dpmsolver++"] = Field(
        "ddim",
        description="DDIM (arXiv 2010.02502) or PNDM (arXiv 2202.09778), the paper's; or, for few steps, DPM-Solver++ "
        "(arXiv 2211.01095)",
    )
    n_steps: int = Field(100, ge=1, description="steps of the solver")
    eta: float = Field(0.0, ge=0, le=1, description="0: deterministic DDIM; 1: DDPM's variance")
    guidance_scale: float | None = Field(
        None, ge=0, description="classifier-free guidance (arXiv 2207.12598) of models with prompts; null: none"
    )
    precision: Precision = Field("float32", description="auto: bfloat16 where the device computes with it")
    batch_size: int = Field(256, ge=1, description="images per forward pass; does not change the images")

    @model_validator(mode="after")
    def _noise_is_for_ddim(self) -> "GenerationConfig":
        if self.eta and self.solver != "ddim":
            raise ValueError(f"eta {self.eta} belongs to the solver ddim; {self.solver} is deterministic")
        return self


class PropertyConfig(Section):
    """The global model property F that is shared out among the contributors."""

    name: str = "inception_score"
    also: tuple[str, ...] = Field((), description="properties measured on the same images and kept beside it")
    classifier: Literal["data", "imagenet"] = Field(
        "data", description="of the Inception Score: one trained on the data, or Inception v3 (the paper's)"
    )
    classifier_steps: int = Field(600, ge=1, description="training steps of the classifier that is trained on the data")
    percentile: float = Field(90.0, ge=0, le=100, description="percentile over images (colourfulness, aesthetic)")
    n_clusters: int = Field(20, ge=2, description="clusters of the full model's images (diversity)")
    embedder: Literal["classifier", "inception", "blip_vqa", "clip", "dino"] = Field(
        "classifier", description="features of an image (diversity, fid); classifier: of one trained on the data"
    )
    embedder_weights: str = Field(
        "", description="folder, s3:// or hub name of blip_vqa, clip or dino; empty: the published ones, from the hub"
    )
    inception_weights: str = Field(
        "timm/inception_v3.tv_in1k", description="file, folder, s3:// or hub name of torchvision's Inception v3"
    )
    aesthetic_clip: str = Field(
        "openai/clip-vit-large-patch14", description="folder, s3:// or hub name of the CLIP under the aesthetic score"
    )
    aesthetic_head: str = Field(
        "", description="file, folder, s3:// or hub name of the aesthetic score's linear head; aesthetic needs it"
    )

    @model_validator(mode="after")
    def _each_once(self) -> "PropertyConfig":
        if len({*self.names}) < len(self.names):
            raise ValueError(f"a property is named twice in {', '.join(self.names)}")
        return self

    @model_validator(mode="after")
    def _aesthetic_has_a_head(self) -> "PropertyConfig":
        if "aesthetic" in self.names and not self.aesthetic_head:
            raise ValueError(
                "the property aesthetic needs aesthetic_head, LAION's linear head for CLIP ViT-L/14 (the file "
                "sa_0_4_vit_l_14_linear.pth of its repository aesthetic-predictor)"
            )
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """Every property that is measured; the first is the one that is shared out."""
        return (self.name, *self.also)


class GameConfig(Section):
    """Which coalitions are measured and how the values are solved for."""

    design: str = "paired"
    n_coalitions: int = Field(ge=1, description="distinct coalitions to measure besides null and full")
    estimator: str = Field(
        "auto", description="auto: the best that is known for the design and the coalitions measured"
    )
    unions: dict[str, str] | None = Field(
        None, description="contributor to the union it belongs to (design two_level, estimator owen)"
    )
    confidence: float = Field(0.95, gt=0, lt=1, description="coverage of the intervals")
    min_measured: float = Field(0.9, gt=0, le=1, description="share of the coalitions that must have been measured")
    coalition_model: Literal["sparsified_finetuning", "retraining", "gradient_ascent", "influence_unlearning"] = Field(
        "sparsified_finetuning",
        description="a coalition's model: the pruned model fine-tuned on its data (paper §3.2); the full model trained "
        "on its data from scratch, the truth that fine-tuning stands in for, at many times the cost; or the pruned "
        "model after forgetting the others' data, which the paper compares with them (appendix D.4)",
    )
    model_contributors: tuple[str, ...] | None = Field(
        None,
        min_length=1,
        description="contributors whose images make the full and the pruned model and the property's references; the "
        "others joined later and are in coalitions alone (docs/recurring.md); null: everybody",
    )

    @model_validator(mode="after")
    def _only_what_was_learnt_is_forgotten(self) -> "GameConfig":
        if self.model_contributors and self.unlearns:
            raise ValueError(
                f"model_contributors and coalition_model {self.coalition_model} exclude each other: the model would "
                "have to forget images that it was never trained on"
            )
        return self

    @property
    def retrains(self) -> bool:
        """Is every coalition's model trained from scratch?"""
        return self.coalition_model == "retraining"

    @property
    def unlearns(self) -> bool:
        """Does every coalition's model forget the images of the others?"""
        return self.coalition_model in ("gradient_ascent", "influence_unlearning")


class StoppingConfig(Section):
    """When to stop before all coalitions are measured: every precision named is reached, or the time is up.

    Looked at when a shard of coalitions starts: smaller shards (``run.shard_size``) stop sooner.
    """

    std_error: float | None = Field(
        None, gt=0, description="largest standard error of a value, as a share of v(N) - v(null)"
    )
    rank_stability: float | None = Field(None, gt=0, le=1, description="of the ranking, 1: every order is certain")
    seconds: float | None = Field(None, gt=0, description="wall time of the run")

    @property
    def asked_for(self) -> bool:
        """May the valuation stop early at all?"""
        return self != StoppingConfig()


class PayoutConfig(Section):
    """A pool of money to be shared out by the values (:mod:`shapley_core.payout`)."""

    pool: int | None = Field(None, ge=1, le=10**15, description="cents; null: no payout")
    negative: Literal["zero", "refuse"] = Field(
        "zero", description="what becomes of negative values: they count as zero, or nothing is paid out"
    )


class EvaluationConfig(Section):
    """How the values are judged by retrained models (paper §4.4, appendices C and D); not part of any game."""

    alphas: tuple[float, ...] = Field((0.25, 0.5, 0.75), min_length=1, description="shares of contributors held out")
    n_held_out: int = Field(100, ge=2, description="held-out coalitions of each share and set; fewer where there are")
    n_sets: int = Field(
        3, ge=1, le=20, description="disjoint sets of held-out coalitions, each with training seeds of its own"
    )
    n_seeds: int = Field(
        1,
        ge=1,
        le=10,
        description="retrainings of each held-out coalition, whose mean judges: more where they are noisy",
    )
    n_repeated: int = Field(
        50, ge=0, description="held-out coalitions of the middle share that are retrained all over again: the noise"
    )
    n_retrained: int = Field(
        500, ge=0, description="coalitions of the valuation that are also retrained, in the order of its plan"
    )
    n_finetuned: int = Field(500, ge=0, description="coalitions of the valuation that the full model is fine-tuned on")
    n_compared: int = Field(
        10, ge=0, description="coalitions of the valuation by whose images the removal methods are compared"
    )
    remove: tuple[float, ...] = Field((0.4,), description="shares of top contributors that are removed")
    keep: tuple[float, ...] = Field((0.6,), description="shares of top contributors that are kept alone")
    leave_one_out: bool = Field(True, description="retrain without each contributor in turn, a baseline")
    gradient_timesteps: int = Field(100, ge=1, description="timesteps of the gradient baselines")
    projection_dim: int = Field(4096, ge=1, description="dimensions that their gradients are projected to")
    damping: float = Field(0.5, gt=0, description="lambda of the influence baselines (docs/baselines.md)")
    seed: int = Field(0, ge=0, description="of the held-out coalitions and their trainings")

    @field_validator("alphas", "remove", "keep")
    @classmethod
    def _shares(cls, shares: tuple[float, ...]) -> tuple[float, ...]:
        wrong = [share for share in shares if not 0 < share < 1]
        if wrong:
            raise ValueError(f"a share must be between 0 and 1, and {wrong[0]} is not")
        return tuple(sorted({*shares}))


class RunConfig(Section):
    """How the work is spread; another setting here changes utilities by rounding at most."""

    shard_size: int = Field(16, ge=1, description="coalitions per loop iteration; grows so that there are at most 64")
    threads: int = Field(0, ge=0, description="CPU threads of train and prune; 0: all cores")
    loop_threads: int = Field(1, ge=0, description="CPU threads of each loop task; 0: all cores")
    copies: int = Field(0, ge=0, description="coalitions trained together as one network; 0: as many as pay")
    compile: bool = Field(False, description="torch.compile, with CUDA graphs on a GPU; seconds to minutes to start")
    checkpoint_every: int = Field(1000, ge=1, description="training steps between checkpoints in the store")
    experiment: str = Field("valuation", min_length=1, description="MLflow experiment")


class ValuationConfig(Section):
    """Everything that defines a valuation."""

    preset: str
    description: str = ""
    seed: int = Field(0, ge=0, lt=2**53)  # Kubeflow carries numbers as doubles
    data: DataConfig
    model: ModelConfig
    noise_schedule: NoiseScheduleConfig = NoiseScheduleConfig()
    training: TrainingConfig
    pruning: PruningConfig
    finetuning: TrainingConfig
    unlearning: UnlearningConfig = UnlearningConfig()
    generation: GenerationConfig
    property: PropertyConfig = PropertyConfig()
    game: GameConfig
    stopping: StoppingConfig = StoppingConfig()
    payout: PayoutConfig = PayoutConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    run: RunConfig = RunConfig()

    @model_validator(mode="after")
    def _resolution_halves(self) -> "ValuationConfig":
        if self.model.is_given:  # its weights say it
            return self
        halvings = len(self.model.block_out_channels) - 1
        by = f"the UNet halves the image {halvings} times"
        if self.model.autoencoder:
            halvings += len(self.model.autoencoder.block_out_channels) - 1
            by = f"the autoencoder and the UNet halve the image {halvings} times"
        if self.data.resolution % 2**halvings:
            raise ValueError(f"data.resolution {self.data.resolution} must be a multiple of {2**halvings}: {by}")
        return self

    @model_validator(mode="after")
    def _base_fits(self) -> "ValuationConfig":
        base = self.model.lora.base.data if self.model.lora else None
        if base and (base.resolution, base.mode) != (self.data.resolution, self.data.mode):
            raise ValueError("model.lora.base.data must have the resolution and the mode of data")
        if self.pruning.method == "svd" and self.model.family != "lora":
            raise ValueError("pruning.method svd is for the family lora")
        if self.generation.guidance_scale is not None and self.model.family != "lora":
            raise ValueError(f"generation.guidance_scale needs prompts, and the family {self.model.family} has none")
        return self

    @model_validator(mode="after")
    def _sampling_steps_exist(self) -> "ValuationConfig":
        n_timesteps = self.noise_schedule.num_train_timesteps
        if self.generation.solver == "pndm":  # it leaves out timestep 0
            n_timesteps -= 1
        if self.generation.n_steps > n_timesteps:
            raise ValueError(
                f"generation.n_steps {self.generation.n_steps} must not exceed the {n_timesteps} timesteps of the "
                "noise schedule"
            )
        return self

    @model_validator(mode="after")
    def _clusters_have_images(self) -> "ValuationConfig":
        n_images, n_clusters = self.generation.n_images, self.property.n_clusters
        if "diversity" in self.property.names and n_images < n_clusters:
            raise ValueError(f"property.n_clusters {n_clusters} must not exceed the {n_images} images generated")
        return self

    @model_validator(mode="after")
    def _money_goes_to_those_who_help(self) -> "ValuationConfig":
        if self.payout.pool and self.property.name == "fid":
            raise ValueError(
                "payout.pool cannot be shared out by fid: the lower, the better, so that the contributors with the "
                "largest values would be those who help least; choose another property.name"
            )
        return self

    def sample_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of what the described UNet denoises: an image, or its latents."""
        autoencoder = self.model.autoencoder
        channels = autoencoder.latent_channels if autoencoder else self.data.channels
        size = self.data.resolution // (autoencoder.factor if autoencoder else 1)
        return channels, size, size

    def coalition_training(self) -> TrainingConfig:
        """How the network of a coalition is trained."""
        return self.training if self.game.retrains else self.finetuning

    @classmethod
    def load(cls, path: Path) -> "ValuationConfig":
        """Read a ``config.yaml`` written by :meth:`save`."""
        return _validated(yaml.safe_load(path.read_text()))

    def save(self, path: Path) -> None:
        """Write the whole configuration as YAML."""
        path.write_text(yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True))


def preset_names() -> list[str]:
    """The presets that come with the project."""
    return sorted(
        p.name.removesuffix(".yaml")
        for p in resources.files("shapley_core.presets").iterdir()
        if p.name.endswith(".yaml")
    )


def resolve(preset: str, overrides: Mapping[str, Any] | None = None) -> ValuationConfig:
    """The configuration of ``preset`` with ``overrides`` laid over it.

    Args:
        preset: a name from :func:`preset_names`, or the path of a ``config.yaml``.
        overrides: dotted keys (``"finetuning.steps"``) to values; the word "null" is None, which Kubeflow cannot carry.

    Raises:
        UserError: unknown preset or key (with the nearest name), or a value out of its limits.
    """
    tree = _read_preset(preset)
    for key, value in (overrides or {}).items():
        _override(tree, key, value)
    return _validated(tree)


def _read_preset(preset: str) -> dict[str, Any]:
    if preset.endswith((".yaml", ".yml")):
        path: Traversable = Path(preset)
        if not path.is_file():
            raise UserError(f"there is no configuration file {preset}")
    elif preset in preset_names():
        path = resources.files("shapley_core.presets") / f"{preset}.yaml"
    else:
        raise UserError(f"there is no preset '{preset}'; {did_you_mean(preset, preset_names())}")
    try:
        tree = yaml.safe_load(path.read_bytes())
    except yaml.YAMLError as error:
        raise UserError(f"{preset} is not YAML: {' '.join(str(error).split())}") from error
    except OSError as error:
        raise UserError(f"cannot read {preset}: {error.strerror}") from error
    if not isinstance(tree, dict):
        raise UserError(f"{preset} must hold a mapping of settings")
    return {"preset": preset, **tree}


def _override(tree: dict[str, Any], key: str, value: Any) -> None:
    """Set a dotted key, after checking every part of it against the sections' fields."""
    known = setting_keys()
    if key not in known:
        raise UserError(f"there is no setting '{key}'; {did_you_mean(key, known)}")
    *parents, leaf = key.split(".")
    for parent in parents:
        tree = tree.setdefault(parent, {})
        if not isinstance(tree, dict):
            raise UserError(f"{parent} must hold a mapping of settings (got {tree!r})")
    tree[leaf] = None if value == "null" else value


def setting_keys(section: type[Section] | None = None, prefix: str = "") -> list[str]:
    """Every setting as a dotted key, in the order of the configuration."""
    keys: list[str] = []
    for name, field in (section or ValuationConfig).model_fields.items():
        # A section that may be absent is a union with None.
        kinds = [kind for kind in (field.annotation, *get_args(field.annotation)) if isinstance(kind, type)]
        inner = next((kind for kind in kinds if issubclass(kind, Section)), None)
        keys += setting_keys(inner, f"{prefix}{name}.") if inner else [f"{prefix}{name}"]
    return keys


def _validated(tree: Any) -> ValuationConfig:
    try:
        return ValuationConfig.model_validate(tree)
    except ValidationError as error:
        problems = [
            f"{'.'.join(str(part) for part in e['loc']) or 'configuration'}: {e['msg'].removeprefix('Value error, ')}"
            + (f" (got {e['input']!r})" if not isinstance(e["input"], dict) else "")
            for e in error.errors()
        ]
        raise UserError("the configuration is not valid: " + "; ".join(problems)) from error
