//! The contract, walked: every RPC, every field of its request, and messages made of any of them.

use bancheck::api::DESCRIPTORS;
use prost::{Message as _, bytes::Buf as _, bytes::BufMut as _};
use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, ReflectMessage as _,
    Value,
};
use tonic::{
    Request, Status,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    codegen::http::uri::PathAndQuery,
};

use crate::server::{Client, TENANT};

/// An RPC of the contract.
pub(crate) struct Rpc {
    pub(crate) path: PathAndQuery,
    pub(crate) name: String,
    pub(crate) on_check_listener: bool,
    pub(crate) input: MessageDescriptor,
    output: MessageDescriptor,
}

pub(crate) fn rpcs() -> Vec<Rpc> {
    let pool = DescriptorPool::decode(DESCRIPTORS).expect("the contract");
    let of_service = |service: prost_reflect::ServiceDescriptor| {
        let full = service.full_name().to_owned();
        let methods: Vec<_> = service.methods().collect();
        methods.into_iter().map(move |method| Rpc {
            path: PathAndQuery::try_from(format!("/{full}/{}", method.name())).expect("a path"),
            name: method.name().to_owned(),
            on_check_listener: full.ends_with(".CheckService"),
            input: method.input(),
            output: method.output(),
        })
    };
    pool.services().flat_map(of_service).collect()
}

/// Messages as their bytes.
#[derive(Clone, Copy, Default)]
pub(crate) struct Bytes;

impl Codec for Bytes {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Bytes {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Bytes {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        let length = buffer.remaining();
        Ok(Some(buffer.copy_to_bytes(length).to_vec()))
    }
}

/// What a tenant has that a request may name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Things {
    pub(crate) ban_id: String,
    pub(crate) list_id: String,
    pub(crate) exception_id: String,
    pub(crate) import_id: String,
    pub(crate) queue: String,
    pub(crate) rights_profile: String,
}

impl Things {
    /// The one that a field names; `None` = the field names none of them.
    pub(crate) fn named(&self, field: &str) -> Option<&str> {
        Some(match field {
            "ban_id" => &self.ban_id,
            "list_id" | "list_ids" | "enforced_list_ids" => &self.list_id,
            "exception_id" => &self.exception_id,
            "import_id" => &self.import_id,
            "queue" | "queues" | "allowed_queues" => &self.queue,
            "rights_profile" => &self.rights_profile,
            _ => return None,
        })
    }
}

/// The way to a field, from the request down.
#[derive(Clone)]
pub(crate) struct Road(Vec<FieldDescriptor>);

impl Road {
    pub(crate) fn field(&self) -> &FieldDescriptor {
        self.0.last().expect("a field")
    }

    pub(crate) fn text(&self) -> String {
        let names: Vec<_> = self.0.iter().map(FieldDescriptor::name).collect();
        names.join(".")
    }

    /// Puts a value at the end of it, as one of one where the field is repeated.
    pub(crate) fn put(&self, message: &mut DynamicMessage, value: Value) {
        let (first, rest) = self.0.split_first().expect("a field");
        let value = if rest.is_empty() {
            value
        } else {
            let Kind::Message(of) = first.kind() else {
                unreachable!("the road goes on")
            };
            let mut inner = match message.get_field(first).into_owned() {
                Value::Message(inner) => inner,
                Value::List(list) => match list.into_iter().next() {
                    Some(Value::Message(inner)) => inner,
                    _ => DynamicMessage::new(of),
                },
                _ => DynamicMessage::new(of),
            };
            Self(rest.to_vec()).put(&mut inner, value);
            Value::Message(inner)
        };
        let value = match value {
            Value::List(list) => Value::List(list),
            one if first.is_list() => Value::List(vec![one]),
            one => one,
        };
        message.set_field(first, value);
    }
}

impl Rpc {
    /// Every field of the request, down to some depth.
    pub(crate) fn roads(&self) -> Vec<Road> {
        let mut roads = Vec::new();
        walk(&self.input, &mut Vec::new(), &mut roads);
        roads
    }

    /// Requests that would do, about what a tenant has: one, or one for each part of a stream.
    pub(crate) fn plausible(&self, things: &Things) -> Vec<DynamicMessage> {
        let whole = plausible(&self.input, &self.name, things);
        if self.name != "ImportBans" {
            return vec![whole];
        }
        let part = |field: FieldDescriptor| {
            let Kind::Message(of) = field.kind() else {
                unreachable!("parts are messages")
            };
            let mut message = DynamicMessage::new(self.input.clone());
            let part = plausible(&of, &self.name, things);
            message.set_field(&field, Value::Message(part));
            message
        };
        self.input.fields().map(part).collect()
    }

    /// The same with a value at the end of a road.
    pub(crate) fn with(&self, road: &Road, value: Value, things: &Things) -> Vec<DynamicMessage> {
        let mut messages = self.plausible(things);
        let first = &road.0[0];
        let at = messages.iter().position(|one| one.has_field(first));
        let at = at.filter(|_| messages.len() > 1).unwrap_or_default();
        road.put(&mut messages[at], value);
        messages
    }
}

fn walk(of: &MessageDescriptor, so_far: &mut Vec<FieldDescriptor>, roads: &mut Vec<Road>) {
    for field in of.fields() {
        so_far.push(field.clone());
        roads.push(Road(so_far.clone()));
        if let Kind::Message(inner) = field.kind()
            && so_far.len() < 5
        {
            walk(&inner, so_far, roads);
        }
        so_far.pop();
    }
}

/// Whether a request finds bans by whatever it names of them.
fn is_filter(of: &MessageDescriptor) -> bool {
    of.get_field_by_name("target_ends_with").is_some()
}

/// A message in which what is needed is said, and little else.
fn plausible(of: &MessageDescriptor, rpc: &str, things: &Things) -> DynamicMessage {
    let mut message = DynamicMessage::new(of.clone());
    for field in of.fields() {
        let text = |value: &str| Value::String(value.to_owned());
        let value = match (field.name(), field.kind()) {
            ("tenant", _) => text(TENANT),
            // What ends something is judged and not done, so that it is there for the next.
            ("validate_only", _) => Value::Bool(rpc.starts_with("De")),
            ("ban_id" | "exception_id", Kind::String) if of.name() != "Exception" => {
                text(things.named(field.name()).expect("one of them"))
            }
            ("list_id", Kind::String) if of.name().ends_with("BanListRequest") => {
                text(&things.list_id)
            }
            ("list_id", Kind::String) if of.name() == "BanList" => {
                text(if rpc == "CreateBanList" {
                    "another"
                } else {
                    &things.list_id
                })
            }
            ("queues", Kind::String) if of.name() == "TestBanPermissionRequest" => {
                text(&things.queue)
            }
            ("interaction_id", Kind::String) if of.name() == "BanInteractionRequest" => {
                text("interaction-1")
            }
            // What narrows a look-up is left open.
            ("identity", _) if is_filter(of) => continue,
            ("queue", Kind::String) if of.name() != "CheckInteractionRequest" => {
                text(&things.queue)
            }
            ("rights_profile", Kind::String) if of.name() != "Grant" => {
                text(&things.rights_profile)
            }
            ("reason" | "comment" | "title" | "principal" | "correlation_id", _) => text("why"),
            ("channel", _) => Value::EnumNumber(3),
            ("stage" | "scopes", _) => Value::EnumNumber(1),
            ("paths", _) => text(match rpc {
                "UpdateBan" => "reason",
                "UpdateBanList" => "title",
                "UpdateTenantSettings" => "display_name",
                _ => "campaign",
            }),
            ("row_number", _) => Value::I32(1),
            (_, Kind::Message(inner)) => match inner.full_name() {
                "bancheck.v1.Identity" => {
                    let mut identity = DynamicMessage::new(inner);
                    identity.set_field_by_name("kind", Value::EnumNumber(4));
                    identity.set_field_by_name("value", text("+420606000111"));
                    Value::Message(identity)
                }
                "google.protobuf.FieldMask"
                | "bancheck.v1.Ban"
                | "bancheck.v1.BanList"
                | "bancheck.v1.Exception"
                | "bancheck.v1.QueuePolicy"
                | "bancheck.v1.TenantSettings"
                | "bancheck.v1.Grant"
                | "bancheck.v1.CheckInteractionRequest"
                | "bancheck.v1.CreateBanRequest" => Value::Message(plausible(&inner, rpc, things)),
                _ => continue,
            },
            _ => continue,
        };
        let value = if field.is_list() {
            Value::List(vec![value])
        } else {
            value
        };
        message.set_field(&field, value);
    }
    message
}

impl Client {
    /// Sends messages as an RPC's request, and reads the first answer; `None` = it ended without.
    pub(crate) async fn call(
        &self,
        rpc: &Rpc,
        messages: &[DynamicMessage],
    ) -> Result<Option<DynamicMessage>, Status> {
        let listener = if rpc.on_check_listener {
            &self.check_listener
        } else {
            &self.admin_listener
        };
        let mut grpc = Grpc::new(listener.clone()).max_decoding_message_size(64 << 20);
        grpc.ready().await.expect("a connection");
        let messages: Vec<_> = messages.iter().map(DynamicMessage::encode_to_vec).collect();
        let request = Request::new(tokio_stream::iter(messages));
        let answers = grpc.streaming(request, rpc.path.clone(), Bytes).await?;
        let answer = answers.into_inner().message().await?;
        Ok(answer.map(|bytes| {
            DynamicMessage::decode(rpc.output.clone(), bytes.as_slice()).expect("an answer")
        }))
    }
}

/// A message as text, without what is another at each asking.
pub(crate) fn lasting_text(message: &DynamicMessage) -> String {
    let mut message = message.clone();
    forget_passing(&mut message);
    message.to_string()
}

fn forget_passing(message: &mut DynamicMessage) {
    let fields: Vec<_> = message.descriptor().fields().collect();
    for field in fields {
        let passing = match field.kind() {
            Kind::Message(of) => ["bancheck.v1.ConsistencyToken", "google.protobuf.Timestamp"]
                .contains(&of.full_name()),
            _ => ["decision_id", "etag", "ban_id", "key_id", "secret"].contains(&field.name()),
        };
        if passing {
            message.clear_field(&field);
            continue;
        }
        match message.get_field_mut(&field) {
            _ if !matches!(field.kind(), Kind::Message(_)) => {}
            Value::Message(inner) => forget_passing(inner),
            Value::List(list) => list.iter_mut().for_each(|one| {
                if let Value::Message(inner) = one {
                    forget_passing(inner);
                }
            }),
            _ => {}
        }
    }
}
