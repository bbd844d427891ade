"""What keeps calls going: turns at the upstream, shared calls, remembered pages, and how long one may wait."""
