"""Deletes what has been long enough in the bucket; AWS_* variables name the server and the keys.

Why not lifecycle rules of the bucket: they go by the beginning of a key, and what may go stands in the middle of keys,
beside values, which must stay. And they would delete a model's weights before the marker that says they are complete.
"""

import argparse
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta

import boto3
from botocore.config import Config

#: Tasks whose outputs are the models and the images of coalitions.
TASKS = ("finetune-subset", "generate")
#: Where Kubeflow puts what they write: artifacts/PIPELINE/RUN/TASK/...
_RUN = r"artifacts/(?:[^/]+/)+?[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"

#: What may go, by its key. What one match of the group "whole" covers goes at once, or not at all.
#: Everything else stays: above all the utilities (store/GAME/*.parquet) and the results of runs.
PATTERNS = {
    "coalitions": re.compile(rf"(?P<whole>{_RUN}/(?:{'|'.join(TASKS)})/)|store/[0-9a-f]+/(?:samples|images)/."),
    "models": re.compile(r"(?P<whole>store/models/[0-9a-f]+/)"),
    "checkpoints": re.compile(r"store/checkpoints/."),
}

#: Written last into a folder of the store; without it the folder counts as not there (shapley_core/storage.py).
MARKER = "_complete.json"


def expired(objects: Iterable[tuple[str, datetime]], days: dict[str, int], now: datetime) -> Iterator[str]:
    """Keys to delete, in this order: of a folder of the store, the marker first.

    Args:
        objects: keys, and when they were written.
        days: how long to keep each kind of PATTERNS, counted from the youngest file of what goes as a whole.
        now: the time.
    """
    wholes: dict[tuple[str, str], list[tuple[str, datetime]]] = {}
    for key, written in objects:
        for kind, pattern in PATTERNS.items():
            if match := pattern.match(key):
                whole = match.groupdict().get("whole") or key
                wholes.setdefault((kind, whole), []).append((key, written))
    for (kind, whole), files in wholes.items():
        if now - max(written for _, written in files) > timedelta(days=days[kind]):
            yield from sorted((key for key, _ in files), key=lambda key: (key != whole + MARKER, key))


def sweep(bucket: str, days: dict[str, int]) -> int:
    """Delete what has expired and return how many files went."""
    s3 = boto3.client("s3", config=Config(s3={"addressing_style": "path"}))
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    objects = [(item["Key"], item["LastModified"]) for page in pages for item in page.get("Contents", [])]
    count = 0
    for key in expired(objects, days, datetime.now(UTC)):
        s3.delete_object(Bucket=bucket, Key=key)
        count += 1
    print(f"{count} of {len(objects)} files in the bucket {bucket} had expired and are deleted")
    return count


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bucket")
    for kind in PATTERNS:
        parser.add_argument(f"--{kind}", type=int, required=True, metavar="DAYS")
    arguments = vars(parser.parse_args())
    sweep(arguments.pop("bucket"), arguments)
