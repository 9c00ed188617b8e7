use bytes::Bytes;
use proptest::prelude::*;

use super::*;

fn bytes(max: usize) -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 0..max).prop_map(Bytes::from)
}

fn operations() -> impl Strategy<Value = Operation> {
    prop_oneof![
        (bytes(20), bytes(50)).prop_map(|(key, value)| Operation::Put { key, value }),
        bytes(20).prop_map(|key| Operation::Delete { key }),
        (bytes(20), prop::option::of(bytes(9)), prop::option::of(bytes(9)))
            .prop_map(|(key, expected, new)| Operation::CompareAndSet { key, expected, new }),
    ]
}

fn commands() -> impl Strategy<Value = Command> {
    let session = (prop::collection::vec(any::<u8>(), 1..=MAX_CLIENT_ID), any::<u64>())
        .prop_map(|(client, serial)| Session { client: ClientId::new(client).unwrap(), serial });
    (prop::option::of(session), operations()).prop_map(|(session, operation)| Command { session, operation })
}

proptest! {
    #[test]
    fn decode_undoes_encode(command in commands()) {
        let bytes = command.encode().unwrap();
        prop_assert_eq!(Command::decode(bytes), Ok(command));
    }

    #[test]
    fn every_prefix_is_refused_as_cut_short(command in commands(), cut in any::<prop::sample::Index>()) {
        let bytes = command.encode().unwrap();
        let cut = cut.index(bytes.len());
        prop_assert_eq!(Command::decode(bytes.slice(..cut)), Err(CommandError::Truncated));
    }

    #[test]
    fn any_bytes_decode_or_are_refused(noise in prop::collection::vec(any::<u8>(), 0..60)) {
        if let Ok(command) = Command::decode(Bytes::from(noise.clone())) {
            prop_assert_eq!(command.encode().unwrap(), Bytes::from(noise));
        }
    }
}

#[test]
fn limits_hold_both_ways() {
    let put = |key: usize, value: usize| {
        Command::new(Operation::Put { key: vec![0; key].into(), value: vec![0; value].into() }).encode()
    };
    assert!(put(MAX_KEY, MAX_VALUE).is_ok());
    assert_eq!(put(MAX_KEY + 1, 0), Err(CommandError::KeyTooLong(MAX_KEY + 1)));
    assert_eq!(put(1, MAX_VALUE + 1), Err(CommandError::ValueTooLong(MAX_VALUE + 1)));
    assert_eq!(ClientId::new(Bytes::new()), Err(CommandError::ClientIdLength(0)));
    assert_eq!(ClientId::new(vec![0; 65]), Err(CommandError::ClientIdLength(65)));

    // A length that promises more than the limit is refused before anything is looked at.
    let huge = [VERSION, DELETE, 0xff, 0xff, 0xff, 0x7f];
    assert_eq!(Command::decode(Bytes::copy_from_slice(&huge)), Err(CommandError::KeyTooLong(0x7fff_ffff)));
}

#[test]
fn what_is_no_command_is_refused_by_name() {
    let decode = |bytes: &'static [u8]| Command::decode(Bytes::from_static(bytes));
    assert_eq!(decode(&[]), Err(CommandError::Truncated));
    assert_eq!(decode(&[9, PUT]), Err(CommandError::UnknownVersion(9)));
    assert_eq!(decode(&[VERSION, 7]), Err(CommandError::UnknownTag(7)));
    assert_eq!(decode(&[VERSION, DELETE, 0, 0, 0, 0, 1]), Err(CommandError::TrailingBytes(1)));
    assert_eq!(decode(&[VERSION, COMPARE_AND_SET, 0, 0, 0, 0, 2]), Err(CommandError::BadFlag(2)));
}

#[test]
fn a_decoded_command_shares_the_buffer() {
    let bytes = Command::new(Operation::Delete { key: Bytes::from_static(b"key") }).encode().unwrap();
    let command = Command::decode(bytes.clone()).unwrap();
    assert!(bytes.as_ptr_range().contains(&command.operation.key().as_ptr()));
}
