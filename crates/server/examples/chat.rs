//! The chat of the first page, served by your own program.
//!
//! ```sh
//! cargo run -p switchboard-server --example chat
//! ```

use switchboard::Switchboard;
use switchboard_server::{demo, pages};

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let io = Switchboard::builder().client_files(pages::client_files()).build()?;
    demo::chat::mount(&io)?;
    io.fallback(pages::routes());
    println!("The chat is at http://localhost:3000/");
    io.listen("0.0.0.0:3000").await
}
