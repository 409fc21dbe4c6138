"""Small networks that this project trains itself, with their weights beside them."""
