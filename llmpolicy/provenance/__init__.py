"""What a function is made of: its files, its code where no file holds it, its bound values."""
