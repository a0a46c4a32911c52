//! The proto3 JSON mapping of the contract's messages, with defaults, and the same document as
//! YAML.

use std::sync::LazyLock;

use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, SerializeOptions};
use proto::api;
use serde::{Serialize, Serializer};

static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    DescriptorPool::decode(proto::MESSAGE_DESCRIPTOR_SET)
        .expect("the descriptor set was made with the types by one build")
});

/// A message whose name in the contract is known.
pub(crate) trait OfContract: Message {
    /// The full name of the message.
    const NAME: &'static str;
}

macro_rules! of_contract {
    ($($message:ident)*) => { $(impl OfContract for api::$message {
        const NAME: &'static str = concat!("mainspring.api.v1.", stringify!($message));
    })* };
}
impl OfContract for proto::job::Savepoint {
    const NAME: &'static str = "mainspring.job.v1.Savepoint";
}
of_contract! { Application ApplicationSpec Event Job ListResponse LogLine GetGraphResponse SubmitRequest }

/// The descriptor of a message.
pub(crate) fn descriptor<M: OfContract>() -> MessageDescriptor {
    POOL.get_message_by_name(M::NAME).expect("a message of the contract is in its descriptor set")
}

struct WithDefaults(DynamicMessage, bool);

impl Serialize for WithDefaults {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize_with_options(
            serializer,
            &SerializeOptions::new().skip_default_fields(!self.1),
        )
    }
}

fn dynamic<M: OfContract>(message: &M, defaults: bool) -> WithDefaults {
    let bytes = message.encode_to_vec();
    let dynamic = DynamicMessage::decode(descriptor::<M>(), bytes.as_slice());
    WithDefaults(dynamic.expect("a message reads back what it wrote"), defaults)
}

/// The message as one line of JSON.
pub(crate) fn line<M: OfContract>(message: &M) -> String {
    let mut text = serde_json::to_string(&dynamic(message, true)).expect("a message maps to JSON");
    text.push('\n');
    text
}

/// The message as an indented JSON document.
pub(crate) fn document<M: OfContract>(message: &M) -> String {
    let mut text =
        serde_json::to_string_pretty(&dynamic(message, true)).expect("a message maps to JSON");
    text.push('\n');
    text
}

/// The message as YAML; with `defaults`, the fields that were not set are written too.
pub(crate) fn yaml<M: OfContract>(message: &M, defaults: bool) -> String {
    let mut text =
        serde_saphyr::to_string(&dynamic(message, defaults)).expect("a message maps to YAML");
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_mapping_has_defaults_names_enums_and_strings_for_64_bit() {
        let application = api::Application {
            application_id: "orders".into(),
            generation: 4,
            phase: api::Phase::Running.into(),
            submitted_at: Some(prost_types::Timestamp { seconds: 0, nanos: 0 }),
            ..Default::default()
        };
        let json: serde_json::Value = serde_json::from_str(&line(&application)).unwrap();
        assert_eq!(json["generation"], "4");
        assert_eq!(json["phase"], "PHASE_RUNNING");
        assert_eq!(json["clean"], false);
        assert_eq!(json["submittedAt"], "1970-01-01T00:00:00Z");
        assert!(document(&application).contains("\n  \"generation\": \"4\","));
    }

    #[test]
    fn every_message_that_is_printed_is_known_with_all_that_it_refers_to() {
        let all = DescriptorPool::decode(proto::FILE_DESCRIPTOR_SET).unwrap();
        let fields = |message: &MessageDescriptor| -> Vec<String> {
            message.fields().map(|field| format!("{field:?}")).collect()
        };
        let known = [
            descriptor::<api::ListResponse>(),
            descriptor::<api::Event>(),
            descriptor::<api::LogLine>(),
            descriptor::<api::GetGraphResponse>(),
            descriptor::<api::SubmitRequest>(),
            descriptor::<proto::job::Savepoint>(),
        ];
        for message in known {
            let whole = all.get_message_by_name(message.full_name()).unwrap();
            assert_eq!(fields(&message), fields(&whole), "{}", message.full_name());
        }
    }

    #[test]
    fn yaml_without_defaults_holds_what_was_set_only() {
        let spec = api::ApplicationSpec { engine: "datafusion".into(), ..Default::default() };
        assert_eq!(yaml(&spec, false), "engine: datafusion\n");
    }
}
