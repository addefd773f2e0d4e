//! Faults one by one: the journal with its threads, over the model disk or over bytes changed by hand.
