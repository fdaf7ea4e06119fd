"""Raw files of other people in, validated tables out."""
