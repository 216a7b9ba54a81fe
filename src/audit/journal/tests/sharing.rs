//! A journal that is let go of, so that another process may write it, and taken up again.

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn a_journal_goes_on_where_another_process_left_it() {
    let (_directory, path) = place();
    let journal = Journal::open(Settings::new(path.clone())).unwrap();
    offer(&journal, 0..2);
    until("all is written", || journal.written() == 2);
    assert!(journal.pause(PATIENCE));
    let other = Journal::open(Settings::new(path.clone())).unwrap();
    offer(&other, 2..4);
    close(&other);
    offer(&journal, 4..6);
    journal.resume();
    close_when_written(&journal, 4);
    assert_eq!(ids(&path), names(0..6));
    assert_eq!(intact(&[path]).files[0].remarks, []);
}

#[test]
fn a_journal_that_cannot_be_taken_up_at_once_is_taken_up_later() {
    let (_directory, path) = place();
    let journal = Journal::open(Settings::new(path.clone())).unwrap();
    offer(&journal, 0..2);
    until("all is written", || journal.written() == 2);
    assert!(journal.pause(PATIENCE));
    let other = Journal::open(Settings::new(path.clone())).unwrap();
    offer(&other, 2..4);
    close(&other);
    let (head, aside) = (head::Head::path(&path), path.with_extension("aside"));
    fs::rename(&head, &aside).unwrap();
    fs::create_dir(&head).unwrap();
    journal.resume();
    offer(&journal, 4..6);
    // More than one try.
    thread::sleep(Duration::from_millis(300));
    assert_eq!(journal.written(), 2, "nothing is written that could not be vouched for");
    fs::remove_dir(&head).unwrap();
    fs::rename(&aside, &head).unwrap();
    close_when_written(&journal, 4);
    assert_eq!(ids(&path), names(0..6));
    assert_eq!(intact(&[path]).files[0].remarks, []);
}

fn close_when_written(journal: &Journal, events: u64) {
    until("all is written", || journal.written() == events);
    close(journal);
}
