#![no_main]

use libfuzzer_sys::fuzz_target;
use midplane::backplane::nats::{Purpose, Subjects};
use midplane::protocol::Channel;

// Whatever comes is taken for a subject, for what stands behind a prefix, and for a channel's name.
fuzz_target!(|input: (u8, &str)| {
    let (purpose, text) = input;
    let purpose = [Purpose::Publish, Purpose::Live, Purpose::Nudge][usize::from(purpose) % 3];
    let subjects = Subjects::new("midplane");
    read(&subjects, purpose, text);
    for token in ["pub", "live", "nudge"] {
        read(&subjects, purpose, &format!("midplane.{token}.{text}"));
    }
    let Ok(channel) = Channel::parse(text, usize::MAX) else { return };
    for purpose in [Purpose::Publish, Purpose::Live, Purpose::Nudge] {
        let subject = subjects.of(purpose, &channel);
        assert_eq!(subjects.channel(purpose, &subject).as_ref(), Some(&channel), "{subject}");
        is_sound(&subject);
        let all = subjects.all(purpose, channel.namespace());
        assert!(subject.starts_with(all.trim_end_matches('>')), "{subject} is not among {all}");
    }
    for own in [subjects.probe(channel.namespace()), subjects.mark(channel.namespace(), 7)] {
        assert_eq!(subjects.channel(Purpose::Publish, &own), None, "{own} is nobody's");
        is_sound(&own);
    }
});

/// A subject names at most one channel, and that one's subject is this one and no other.
fn read(subjects: &Subjects, purpose: Purpose, subject: &str) {
    if let Some(channel) = subjects.channel(purpose, subject) {
        assert_eq!(subjects.of(purpose, &channel), subject);
        is_sound(subject);
    }
}

/// A server takes it, and takes it for one subject.
fn is_sound(subject: &str) {
    assert!(subject.split('.').all(|token| !token.is_empty() && token != "*" && token != ">"), "{subject}");
    assert!(!subject.contains(|c: char| c.is_whitespace() || c.is_control()), "{subject}");
}
