//! Checks that the embedded pages have been built, and rebuilds the server when they change.

use std::path::Path;

fn main() {
    println!("cargo::rerun-if-changed=../../web/dist");
    for built in ["index.html", "socket.io/socket.io.js"] {
        if !Path::new("../../web/dist").join(built).is_file() {
            println!(
                "cargo::error=web/dist/{built} is missing: the server embeds the pages, which are built first. \
                 Run `npm ci && npm run build` in web/, or `./run` at the root of the repository, which does that and starts the server."
            );
            return;
        }
    }
}
