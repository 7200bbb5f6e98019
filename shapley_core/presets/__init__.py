"""The presets: what to value and how, one YAML file each."""
