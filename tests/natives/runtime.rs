// A custom runtime for Lambda functions on Rust's standard library.
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

fn ask(request: &str, body: &[u8]) -> (Vec<String>, Vec<u8>) {
    let api = std::env::var("AWS_LAMBDA_RUNTIME_API").unwrap();
    let mut stream = TcpStream::connect(&api).unwrap();
    let head = format!("{} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
                       request, api, body.len());
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    let mut reader = BufReader::new(stream);
    let mut fields = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if line.trim_end().is_empty() {
            break;
        }
        fields.push(line.trim_end().to_string());
    }
    let mut answer = Vec::new();
    reader.read_to_end(&mut answer).unwrap();
    (fields, answer)
}

fn main() {
    let base = "/2018-06-01/runtime/invocation/";
    for count in 1.. {
        let (fields, event) = ask(&format!("GET {}next", base), b"");
        let name = "Lambda-Runtime-Aws-Request-Id: ";
        let id = fields.iter().find_map(|field| field.strip_prefix(name)).unwrap();
        let body = format!("{{\"count\":{},\"event\":{}}}", count, String::from_utf8_lossy(&event));
        let (fields, _) = ask(&format!("POST {}{}/response", base, id), body.as_bytes());
        assert!(fields[0].contains(" 202 "), "{:?}", fields);
    }
}
