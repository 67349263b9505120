//! Gate, queue, matchmaker, allocation, results.
