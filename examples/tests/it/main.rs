//! Every example is run, and what a person sees is what is written here.

#![cfg(test)]

mod folder_target;
mod programs;
mod tidy;
