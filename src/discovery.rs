//! Who tells the route table what there is: a configuration file, for now.

pub mod file;
