//! The binary `switchboard`. `switchboard --help` lists its options.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;
use switchboard_server::{Config, run, start_logging};

fn main() -> ExitCode {
    let config = Config::parse();
    if let Err(error) = start_logging(&config) {
        eprintln!("switchboard: {error}");
        return ExitCode::FAILURE;
    }
    match run(&config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("switchboard: {error}");
            ExitCode::FAILURE
        }
    }
}
