//! Tables of the run: what is fed in, what is written down, what is owed.

mod children;
mod failure;
mod forward;
mod operator;
mod property;
mod table;
