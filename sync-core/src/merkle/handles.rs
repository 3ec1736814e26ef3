//! The handles of a leaf: up to three stand in place, for most leaves below a full branch hold no more.

/// Most handles in place: with them a list is as large as one that stands elsewhere.
const FEW: usize = 3;

/// See the module's documentation.
#[derive(Clone, Debug)]
pub(super) enum Handles<H> {
    Few(u8, [H; FEW]),
    Many(Vec<H>),
}

impl<H: Copy + Default> Handles<H> {
    pub(super) fn as_slice(&self) -> &[H] {
        match self {
            Self::Few(len, handles) => &handles[..usize::from(*len)],
            Self::Many(handles) => handles,
        }
    }

    pub(super) fn as_mut_slice(&mut self) -> &mut [H] {
        match self {
            Self::Few(len, handles) => &mut handles[..usize::from(*len)],
            Self::Many(handles) => handles,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.as_slice().len()
    }

    pub(super) fn push(&mut self, handle: H) {
        match self {
            Self::Few(len, handles) => match handles.get_mut(usize::from(*len)) {
                Some(place) => {
                    *place = handle;
                    *len += 1;
                }
                None => {
                    let mut many = Vec::with_capacity(2 * FEW);
                    many.extend_from_slice(handles);
                    many.push(handle);
                    *self = Self::Many(many);
                }
            },
            Self::Many(handles) => handles.push(handle),
        }
    }

    /// Takes the handle at `at` out; the last one comes to its place.
    pub(super) fn swap_remove(&mut self, at: usize) {
        match self {
            Self::Few(len, handles) => {
                *len -= 1;
                handles.swap(at, usize::from(*len));
            }
            Self::Many(handles) => {
                handles.swap_remove(at);
                if handles.len() <= FEW {
                    *self = handles.iter().copied().collect();
                }
            }
        }
    }
}

impl<H: Copy + Default> Default for Handles<H> {
    fn default() -> Self {
        Self::Few(0, [H::default(); FEW])
    }
}

impl<H: Copy + Default> FromIterator<H> for Handles<H> {
    fn from_iter<I: IntoIterator<Item = H>>(handles: I) -> Self {
        let handles = handles.into_iter();
        let least = handles.size_hint().0;
        if least > FEW {
            return Self::Many(handles.collect());
        }
        let mut few = Self::default();
        handles.for_each(|handle| few.push(handle));
        few
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_grows_out_of_its_place_and_back() {
        let (mut list, mut plain) = (Handles::default(), Vec::new());
        assert_eq!(size_of::<Handles<u32>>(), size_of::<Vec<u32>>());
        for step in 0..200u32 {
            if step % 20 < 12 {
                list.push(step);
                plain.push(step);
            } else if !plain.is_empty() {
                let at = (step * 7) as usize % plain.len();
                list.swap_remove(at);
                plain.swap_remove(at);
            }
            assert_eq!((list.as_slice(), list.len()), (plain.as_slice(), plain.len()));
            assert_eq!(plain.iter().copied().collect::<Handles<u32>>().as_slice(), plain);
        }
    }
}
