"""What keeps calls going: concurrency limit, coalescing, page cache, memory budget, deadlines and time-outs."""
