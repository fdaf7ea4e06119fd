"""The language model that writes profiles and answers Yes or No: base, adapter, tokenizer and what goes with them."""
