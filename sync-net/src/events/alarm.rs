//! Which events are alarms: somebody has to look.

use sync_core::node::Event;

/// Kinds of alarms that are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Alarm {
    CertificateEnds,
    ClockJumped,
    ClockOff,
    Corrupt,
    Degraded,
    Diverged,
    EventsLost,
    Fenced,
    HorizonAhead,
    OwnerDoubled,
}

impl Alarm {
    pub(crate) const ALL: [Self; 10] = [
        Self::CertificateEnds,
        Self::ClockJumped,
        Self::ClockOff,
        Self::Corrupt,
        Self::Degraded,
        Self::Diverged,
        Self::EventsLost,
        Self::Fenced,
        Self::HorizonAhead,
        Self::OwnerDoubled,
    ];

    /// Its name, as events and metrics have it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::CertificateEnds => "certificate_ends",
            Self::ClockJumped => "clock_jumped",
            Self::ClockOff => "clock_off",
            Self::Corrupt => "corrupt",
            Self::Degraded => "degraded",
            Self::Diverged => "diverged",
            Self::EventsLost => "events_lost",
            Self::Fenced => "fenced",
            Self::HorizonAhead => "horizon_ahead",
            Self::OwnerDoubled => "owner_doubled",
        }
    }

    /// The alarm that an event is, if it is one.
    pub(super) fn of(event: &Event) -> Option<Self> {
        match event {
            Event::ClockJumped { .. } => Some(Self::ClockJumped),
            Event::ClockOff { .. } => Some(Self::ClockOff),
            Event::Corrupt { .. } => Some(Self::Corrupt),
            Event::Degraded { .. } => Some(Self::Degraded),
            Event::Diverged { .. } => Some(Self::Diverged),
            Event::EventsLost { .. } => Some(Self::EventsLost),
            Event::Fenced { .. } => Some(Self::Fenced),
            Event::HorizonAhead { .. } => Some(Self::HorizonAhead),
            Event::OwnerDoubled { .. } => Some(Self::OwnerDoubled),
            Event::Changed(_)
            | Event::Conflicts { .. }
            | Event::TypesMet { .. }
            | Event::Breaker { .. }
            | Event::PeerUp { .. }
            | Event::Traced { .. }
            | Event::PeerDown { .. }
            | Event::SessionDone { .. }
            | Event::Bootstrap { .. }
            | Event::FrameRefused { .. }
            | Event::Pressure { .. }
            | Event::Healed { .. }
            | Event::Replayed { .. }
            | Event::MarksEnded { .. }
            | Event::NamespaceOpened { .. }
            | Event::NamespaceClosed { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_alarm_has_a_place_of_its_own() {
        assert!(Alarm::ALL.iter().enumerate().all(|(at, alarm)| *alarm as usize == at));
    }
}
