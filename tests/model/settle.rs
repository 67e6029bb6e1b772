//! The liveness, bounded: from any state on, with nobody doing anything but the monitors, what is left to do is done.

use procwarden::domain::migration::{Migration, State, Status};

use super::monitor::Doing;
use super::protocol::{Protocol, fingerprint};
use super::world::{Attempt, SETTLING, Stage, World};

/// Does what is left to do get done, and is what is recorded then true?
pub fn settles(model: &Protocol, from: &World) -> bool {
    let mut world = from.clone();
    let mut passed = Vec::new();
    for _ in 0..SETTLING {
        (0..world.monitors.len()).for_each(|m| turn(model, &mut world, m));
        world.noted.clear();
        world.tick += 1;
        if world.wrong.is_some() {
            return false;
        }
        let mark = fingerprint(&world);
        if model.settled.lock().unwrap().contains(&mark) {
            break;
        }
        passed.push(mark);
    }
    let ended = passed.len() < usize::try_from(SETTLING).unwrap() || is_true(&world);
    if ended {
        model.settled.lock().unwrap().extend(passed.first());
    }
    ended
}

/// One monitor finishes what it is about and looks once.
fn turn(model: &Protocol, world: &mut World, m: usize) {
    let bounds = &model.bounds;
    if world.monitors[m].down {
        world.restart(m);
    }
    if let Some(look) = &world.monitors[m].look {
        if !look.is_whole() {
            world.look_at_process(m, bounds);
        }
        finish(model, world, m);
        world.judge(m, None, bounds);
    }
    finish(model, world, m);
    world.reread(m);
    world.look_at_lock(m, true, bounds);
    world.look_at_process(m, bounds);
    world.judge(m, None, bounds);
    finish(model, world, m);
}

fn finish(model: &Protocol, world: &mut World, m: usize) {
    while world.monitors[m].doing != Doing::Nothing {
        world.step(m, &model.bounds);
    }
}

/// Does the row say what became of the attempt that wrote its lock last?
fn is_true(world: &World) -> bool {
    let Some(last) = world.attempts.iter().rfind(|it| it.started.is_some()) else {
        return world.database.row.is_none();
    };
    let row = world.database.row.as_deref();
    let of_it = row.filter(|row| row.lock_started == last.started);
    match last.stage {
        Stage::Working if world.lock.is_some() => of_it.is_some_and(|row| is_alive(row, last)),
        // An operator took its lock: it is waited for, and its end is not over.
        Stage::Spawned | Stage::Working => row.is_none_or(|row| row.status != Status::Error),
        // Nobody has to have seen it.
        Stage::Released | Stage::Ended => {
            world.lock.is_none()
                && row.is_none_or(|row| row.status.is_final())
                && of_it.is_none_or(|row| last.forced || row.status == Status::Completed)
        }
        Stage::Died => world.lock.is_none() && row.is_none_or(|row| is_over(row, last)),
    }
}

fn is_alive(row: &Migration, last: &Attempt) -> bool {
    let runs = row.status == Status::InProgress && row.state == State::Alive;
    if last.told { row.status == Status::Completed } else { runs }
}

fn is_over(row: &Migration, last: &Attempt) -> bool {
    let own = row.lock_started == last.started;
    match row.status {
        Status::Completed => !own || last.told,
        status => status == Status::Error,
    }
}
