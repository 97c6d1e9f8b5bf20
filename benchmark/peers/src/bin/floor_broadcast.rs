//! The fan-out floor: sends each read to every connection, the sender too, with one send for each recipient.

use peers::floor;

fn main() -> rustix::io::Result<()> {
    floor::serve(|connections, _, data| {
        for connection in connections.iter().flatten() {
            floor::send_all(connection, data);
        }
    })
}
