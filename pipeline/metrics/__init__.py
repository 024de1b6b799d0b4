"""How good a prediction is: exact counts and the figures derived from them."""
