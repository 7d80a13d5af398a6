// A function, and a program, in Rust: threads, channels, thread-local storage, panics that are caught.
use std::cell::Cell;
use std::os::raw::{c_char, c_int};
use std::{collections::HashMap, io::Read, sync::mpsc, thread, time::Duration};

// Of spore/function.h, as far as it is used.
#[repr(C)]
pub struct Context {
    version: u32,
    size: u32,
    request_id: *const c_char,
}
#[repr(C)]
pub struct Response {
    version: u32,
    size: u32,
    host: *mut u8,
    set_result: extern "C" fn(*mut Response, *const u8, usize) -> c_int,
    set_error: extern "C" fn(*mut Response, *const u8, *const u8) -> c_int,
}

thread_local!(static SEEN: Cell<u64> = Cell::new(0));

fn count(up_to: u64) -> String {
    let (sender, receiver) = mpsc::channel();
    let threads: Vec<_> = (0..16)
        .map(|first| {
            let sender = sender.clone();
            thread::spawn(move || {
                let sum: u64 = (first..=up_to).step_by(16).sum();
                SEEN.with(|seen| seen.set(seen.get() + 1));
                thread::sleep(Duration::from_millis(1));
                sender.send((sum, SEEN.with(|seen| seen.get()))).unwrap();
            })
        })
        .collect();
    drop(sender);
    let (sum, seen) = receiver.iter().fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1));
    threads.into_iter().for_each(|one| one.join().unwrap());
    let caught = std::panic::catch_unwind(|| panic!("on purpose")).is_err();
    // The hash seed is the kernel's randomness.
    let order: Vec<String> =
        (0..64).map(|n| (n, n)).collect::<HashMap<u32, u32>>().keys().map(|n| n.to_string()).collect();
    format!(
        "{{\"sum\":{},\"seen\":{},\"caught\":{},\"random\":\"{}\"}}",
        sum, seen, caught, order.join(" ")
    )
}

#[no_mangle]
pub extern "C" fn handle(_: &Context, event: *const u8, length: usize, response: &mut Response) -> c_int {
    let text = unsafe { std::slice::from_raw_parts(event, length) };
    match std::str::from_utf8(text).unwrap_or("").parse() {
        Ok(up_to) => {
            let answer = count(up_to);
            (response.set_result)(response, answer.as_ptr(), answer.len())
        }
        Err(_) => {
            (response.set_error)(response, b"CountError\0".as_ptr(), b"not a number\0".as_ptr());
            1
        }
    }
}

#[allow(dead_code)]
fn main() {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).unwrap();
    match text.trim().parse() {
        Ok(up_to) => println!("{}", count(up_to)),
        Err(error) => {
            eprintln!("not a number: {}", error);
            std::process::exit(3);
        }
    }
}
