//! Requests of the contract that name an application, made from its descriptors.

use std::collections::HashMap;

use bytes::Bytes;
use prost::Message as _;
use prost::encoding::{WireType, encode_key, encode_varint};
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorSet};

/// How deep in a request an application may be named.
const DEPTH: u32 = 4;

/// One method, and all that its request may consist of.
pub(crate) struct Method {
    pub(crate) path: String,
    input: String,
    messages: HashMap<String, DescriptorProto>,
}

/// All methods of one service, as `package.Service`.
pub(crate) fn methods(service: &str) -> Vec<Method> {
    let files = FileDescriptorSet::decode(proto::FILE_DESCRIPTOR_SET).expect("of this build");
    let named = |file: &prost_types::FileDescriptorProto| {
        let package = file.package().to_owned();
        let message = move |m: &DescriptorProto| (format!(".{package}.{}", m.name()), m.clone());
        file.message_type.iter().map(message).collect::<Vec<_>>()
    };
    let messages: HashMap<String, DescriptorProto> = files.file.iter().flat_map(named).collect();
    let mut methods = Vec::new();
    for file in &files.file {
        for declared in &file.service {
            if format!("{}.{}", file.package(), declared.name()) == service {
                methods.extend(declared.method.iter().map(|method| Method {
                    path: format!("/{service}/{}", method.name()),
                    input: method.input_type().to_owned(),
                    messages: messages.clone(),
                }));
            }
        }
    }
    methods
}

impl Method {
    /// A request that names this application wherever one can be named, and whether one could be.
    pub(crate) fn request(&self, application: &str, generation: u64) -> (Bytes, bool) {
        let mut names_it = false;
        let request = self.fill(&self.input, application, generation, DEPTH, &mut names_it);
        (request.into(), names_it)
    }

    fn fill(
        &self,
        message: &str,
        id: &str,
        generation: u64,
        depth: u32,
        names_it: &mut bool,
    ) -> Vec<u8> {
        let mut bytes = Vec::new();
        let Some(message) = self.messages.get(message).filter(|_| depth > 0) else { return bytes };
        let mut chosen = Vec::new();
        for field in &message.field {
            // Of a choice the first member is filled, because it is what opens a stream.
            let choice = field.oneof_index.filter(|_| !field.proto3_optional());
            let is_first = choice.is_none_or(|index| !chosen.contains(&index));
            chosen.extend(choice);
            if field.label() == Label::Repeated || !is_first {
                continue;
            }
            self.fill_field(field, id, generation, depth, names_it, &mut bytes);
        }
        bytes
    }

    fn fill_field(
        &self,
        field: &FieldDescriptorProto,
        id: &str,
        generation: u64,
        depth: u32,
        names_it: &mut bool,
        bytes: &mut Vec<u8>,
    ) {
        let tag = u32::try_from(field.number()).expect("numbers of fields are positive");
        match (field.r#type(), field.name()) {
            (Type::Message, _) => {
                let inner = self.fill(field.type_name(), id, generation, depth - 1, names_it);
                if !inner.is_empty() {
                    delimited(tag, &inner, bytes);
                }
            }
            (Type::String, "application_id") => {
                *names_it = true;
                delimited(tag, id.as_bytes(), bytes);
            }
            // The role says whose output is brought: a contender may bring that of main().
            (Type::String, "role") => delimited(tag, b"main", bytes),
            (Type::Uint64, "generation") => number(tag, generation, bytes),
            (Type::Uint64, "epoch" | "incarnation") => number(tag, 1, bytes),
            _ => {}
        }
    }
}

fn delimited(tag: u32, content: &[u8], bytes: &mut Vec<u8>) {
    encode_key(tag, WireType::LengthDelimited, bytes);
    encode_varint(content.len() as u64, bytes);
    bytes.extend_from_slice(content);
}

fn number(tag: u32, value: u64, bytes: &mut Vec<u8>) {
    encode_key(tag, WireType::Varint, bytes);
    encode_varint(value, bytes);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn named(service: &str, method: &str) -> (Bytes, bool) {
        let path = format!("/{service}/{method}");
        let found = methods(service).into_iter().find(|method| method.path == path);
        found.unwrap().request("orders", 4)
    }

    #[test]
    fn an_application_is_named_where_a_request_has_a_place_for_it() {
        let (bytes, names_it) = named("mainspring.jobgraph.v1.RecordService", "BeginAttempt");
        let fence = proto::jobgraph::BeginAttemptRequest::decode(bytes).unwrap().fence.unwrap();
        assert!(names_it && fence.epoch == 1);
        assert_eq!(fence.application.unwrap().application_id, "orders");
        let (bytes, names_it) = named("mainspring.election.v1.ElectionService", "Campaign");
        let first = proto::election::CampaignRequest::decode(bytes).unwrap().message;
        assert!(
            names_it && matches!(first, Some(proto::election::campaign_request::Message::Enter(_)))
        );
        assert!(!named("mainspring.jobgraph.v1.PayloadService", "StatPayloads").1);
    }
}
