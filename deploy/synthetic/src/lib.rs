//! ward-synthetic.
