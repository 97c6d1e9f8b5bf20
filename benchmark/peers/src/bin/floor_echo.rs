//! The echo floor: sends each read back to where it came from.

use peers::floor;

fn main() -> rustix::io::Result<()> {
    floor::serve(|connections, from, data| {
        if let Some(connection) = &connections[from] {
            floor::send_all(connection, data);
        }
    })
}
