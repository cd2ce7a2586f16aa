//! Two who change one stack at the same moment, and the one who comes after them.

use std::time::Duration;

use windflow_core::target::{Applied, Context, Promote, Target as _, TargetExt as _};

use crate::cuts::TwoSets;

async fn says(place: &impl TwoSets) -> String {
    let observed = place.target().observe(&Context::new("look"), &place.shop("").name).await.unwrap();
    place.says(&observed.services["load"].instances[0].id)
}

/// Of two that are asked for at once the one that says it is done is what is there, whoever that is; and whoever comes next
/// finishes what is left. The later one begins after so many milliseconds: of two applies, and of promote and abort.
pub async fn never_both_done<P: TwoSets>(rounds: &[(u64, u64)]) {
    let (place, cx) = (P::new(), Context::new);
    let (target, wait) = (|| place.target(), |millis| tokio::time::sleep(Duration::from_millis(millis)));
    let (one, name) = (place.shop("one"), place.shop("").name);
    target().deploy(&cx("one"), one.clone()).await.unwrap();
    for (applied, decided) in rounds {
        let (two, three) = (place.shop("two"), place.shop("three"));
        let later = async {
            wait(*applied).await;
            target().deploy(&cx("three"), three.clone()).await
        };
        let (a, b) = tokio::join!(async { target().deploy(&cx("two"), two.clone()).await }, later);
        let told = format!("{applied}: {a:?}, {b:?}");
        assert!(a.is_err() || b.is_err(), "{told}");
        let staged = target().observe(&cx("look"), &name).await.unwrap().staged;
        if a.is_ok() || b.is_ok() {
            let (wanted, text) = if a.is_ok() { (&two, "two") } else { (&three, "three") };
            assert_eq!(staged.as_ref().map(|staged| &staged.stack), Some(wanted), "{told}");
            assert_eq!(says(&place).await, text, "{told}");
        }
        let number = match staged {
            Some(staged) => Some(staged.number),
            // Neither of them came so far.
            None => {
                target().deploy(&cx("two again"), two).await.unwrap();
                target().observe(&cx("look"), &name).await.unwrap().staged.map(|staged| staged.number)
            }
        };
        let later = async {
            wait(*decided).await;
            target().promote(&cx("no"), &name, Promote::Abort).await
        };
        let go = async { target().promote(&cx("go"), &name, Promote::Promote).await };
        let (yes, no) = tokio::join!(go, later);
        let told = format!("{decided}: {told}; {yes:?}, {no:?}");
        let promoted = number.is_some() && matches!(&yes, Ok(Applied::Revision(done)) if *done == number);
        let aborted = matches!(&no, Ok(Applied::Revision(_)));
        assert!(!(promoted && aborted), "{told}");
        let after = target().observe(&cx("look"), &name).await.unwrap();
        let current = after.current.map(|current| current.number);
        assert!(!promoted || (current == number && after.staged.is_none()), "{told}: {current:?}");
        assert!(!aborted || (current != number && after.staged.is_none()), "{told}: {current:?}");
        // Whoever comes next finishes what is left.
        target().promote(&cx("end"), &name, Promote::Abort).await.unwrap_or_else(|error| panic!("{error}: {told}"));
        let current = target().observe(&cx("look"), &name).await.unwrap().current.unwrap();
        let same = target().deploy(&cx("same"), current.stack.clone()).await;
        assert!(same.is_ok(), "{same:?}: {told}");
        let text = ["one", "two", "three"].into_iter().find(|text| place.shop(text) == current.stack).unwrap();
        assert_eq!((says(&place).await.as_str(), place.sets().await), (text, 1), "{told}");
        assert!(target().drift(&cx("drift"), &name).await.unwrap().is_empty(), "{told}");
        if text != "one" {
            target().deploy(&cx("back"), one.clone()).await.unwrap();
            target().promote(&cx("back"), &name, Promote::Promote).await.unwrap();
        }
    }
}
