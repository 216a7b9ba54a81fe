//! The `coppice-gateway` binary: parses the command line and hands over to [`coppice_gateway`].

fn main() {}
