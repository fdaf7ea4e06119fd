"""The collaborative-filtering side: one model class, its backbones and fusion, its catalogue and its trainer."""
