//! The request pipeline: tree, sessions and log wired together; pure
