//! RECORDED: the SQLite file.
