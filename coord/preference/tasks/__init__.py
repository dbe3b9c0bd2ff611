"""What preferences can be about: control tasks, kitchens with partners, an island; and what teachers want of them."""
