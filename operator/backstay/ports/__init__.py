"""What the rest of Backstay needs of the outside, as Protocols; adapters fulfil them."""
