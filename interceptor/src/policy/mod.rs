//! Decides what happens to a request, from facts and findings alone.
