//! What there is to say about every model, as plain data: pure, from a pass or
//! from records to values that others render.

pub mod history;
