// The same as a program: reads standard input.
//
//   rustc -O wordcount.rs
//   spore run -- ./wordcount < /usr/share/common-licenses/GPL-3
use std::io::Read;

fn main() -> std::io::Result<()> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    println!("{} {} {}", text.lines().count(), text.split_whitespace().count(), text.len());
    Ok(())
}
