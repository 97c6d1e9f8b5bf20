//! One packet to one message.

use rmp::encode::{
    ByteBuf, write_array_len, write_bin, write_bool, write_f64, write_map_len, write_nil, write_sint,
    write_str, write_uint,
};
use serde::Deserialize;

use crate::socketio::error::ArgsError;
use crate::socketio::packet::PacketType;
use crate::socketio::tree::Node;
use crate::socketio::whole::WholePacket;

/// Appends a packet.
///
/// # Errors
/// [`ArgsError`] if the data is not JSON, or a placeholder names no attachment. `out` then has its old
/// content.
pub fn encode(packet: &WholePacket<'_>, out: &mut Vec<u8>) -> Result<(), ArgsError> {
    let data = if packet.data.is_empty() { None } else { Some(read(packet)?) };
    let mut buffer = ByteBuf::from_vec(std::mem::take(out));
    let start = buffer.as_slice().len();
    let written = write_packet(&mut buffer, packet, data.as_ref());
    *out = buffer.into_vec();
    written.map_err(|TooLarge| {
        out.truncate(start);
        ArgsError::Data("a value of more than 4 GiB".into())
    })
}

/// A length does not fit 32 bits.
struct TooLarge;

impl<E> From<E> for TooLarge
where
    E: std::error::Error,
{
    fn from(_: E) -> Self {
        Self
    }
}

fn read<'a>(packet: &'a WholePacket<'_>) -> Result<Node<'a>, ArgsError> {
    let syntax = |error: serde_json::Error| ArgsError::Syntax(error.to_string());
    let mut json = serde_json::Deserializer::from_str(&packet.data);
    json.disable_recursion_limit();
    let mut data = Node::deserialize(&mut json).map_err(syntax)?;
    json.end().map_err(syntax)?;
    if !packet.attachments.is_empty() {
        data.resolve(&packet.attachments)?;
    }
    Ok(data)
}

fn write_packet(
    out: &mut ByteBuf,
    packet: &WholePacket<'_>,
    data: Option<&Node<'_>>,
) -> Result<(), TooLarge> {
    let entries = 2 + u32::from(packet.id.is_some()) + u32::from(data.is_some());
    write_map_len(out, entries)?;
    write_str(out, "type")?;
    let kind = match packet.kind {
        PacketType::BinaryEvent => PacketType::Event,
        PacketType::BinaryAck => PacketType::Ack,
        other => other,
    };
    write_uint(out, kind as u64)?;
    write_str(out, "nsp")?;
    write_text(out, &packet.namespace)?;
    if let Some(id) = packet.id {
        write_str(out, "id")?;
        write_uint(out, id)?;
    }
    if let Some(data) = data {
        write_str(out, "data")?;
        write_node(out, data)?;
    }
    Ok(())
}

fn length(length: usize) -> Result<u32, TooLarge> {
    u32::try_from(length).map_err(|_| TooLarge)
}

fn write_text(out: &mut ByteBuf, text: &str) -> Result<(), TooLarge> {
    length(text.len())?;
    Ok(write_str(out, text)?)
}

fn write_node(out: &mut ByteBuf, node: &Node<'_>) -> Result<(), TooLarge> {
    match node {
        Node::Null => write_nil(out)?,
        Node::Bool(value) => write_bool(out, *value)?,
        Node::Number(number) => write_number(out, number)?,
        Node::String(text) => write_text(out, text)?,
        Node::Binary(bytes) => {
            length(bytes.len())?;
            write_bin(out, bytes)?;
        }
        Node::Array(items) => {
            write_array_len(out, length(items.len())?)?;
            items.iter().try_for_each(|item| write_node(out, item))?;
        }
        Node::Object(entries) => {
            write_map_len(out, length(entries.len())?)?;
            entries.iter().try_for_each(|(key, value)| {
                write_text(out, key)?;
                write_node(out, value)
            })?;
        }
    }
    Ok(())
}

fn write_number(out: &mut ByteBuf, number: &serde_json::Number) -> Result<(), TooLarge> {
    if let Some(number) = number.as_u64() {
        write_uint(out, number)?;
    } else if let Some(number) = number.as_i64() {
        write_sint(out, number)?;
    } else {
        write_f64(out, number.as_f64().unwrap_or_default())?;
    }
    Ok(())
}
