"""spore run with Java: source files and jars, streams, exit codes, threads, signals, limits."""
import os
import signal
import subprocess

import daemon
import java
import pytest


@pytest.fixture
def run(spored, tmp_path):
    def call(code, *args, options=(), **fields):
        script = tmp_path / "Main.java"
        script.write_text(code)
        return spored.cli("run", *options, script, *args, **fields)
    return call


def main(body, more=""):
    return ("import java.util.*;\npublic class Main {\n  public static void main(String[] args)"
            f" throws Exception {{\n    {body}\n  }}\n{more}\n}}\n")


def test_streams_and_arguments_pass_through(run):
    done = run(main('System.out.println(Arrays.toString(args) + new String(System.in.readAllBytes()));'
                    'System.err.println("to stderr");'), "--json", "-x", "a b", "\u2603", input="h\u00e4llo".encode())
    assert (done.code, done.out, done.err) == (0, "[--json, -x, a b, \u2603]h\u00e4llo\n", "to stderr\n"), done


def test_binary_and_large_streams_are_unchanged(run):
    data = os.urandom(3 << 20)
    done = run(main("System.in.transferTo(System.out); System.out.flush();"), input=data)
    assert done.code == 0 and done.raw == data


@pytest.mark.parametrize("body,expected", [
    ("", 0), ("System.exit(7);", 7), ("Runtime.getRuntime().halt(255);", 255),
    ("throw new IllegalStateException();", 1), ("no such code", 1),
], ids=repr)
def test_exit_code_is_the_programs(run, body, expected):
    assert run(main(body)).code == expected


def test_threads_outlive_main_and_daemons_do_not(run):
    done = run(main('new Thread(() -> { try { Thread.sleep(200); } catch (Exception e) { }'
                    ' System.out.println("late"); }).start();'
                    'Thread daemon = new Thread(() -> { try { Thread.sleep(1000000); }'
                    ' catch (Exception e) { } }); daemon.setDaemon(true); daemon.start();'
                    'Runtime.getRuntime().addShutdownHook(new Thread(() -> System.out.println("hook")));'
                    'System.out.println("main");'))
    assert (done.code, done.out) == (0, "main\nlate\nhook\n"), done


def test_uncaught_exceptions_are_told_as_java_does(run):
    done = run(main("fail();", "static void fail() { throw new IllegalArgumentException(\"why\"); }"))
    assert done.err.splitlines()[0] == 'Exception in thread "main" java.lang.IllegalArgumentException: why'
    assert "at Main.fail(Main.java:" in done.err and "spore" not in done.err


def test_compile_errors_name_the_line(run):
    done = run("class Main {\n  int x = \"text\";\n}\n")
    assert done.code == 1 and "Main.java:2: error: incompatible types" in done.err, done
    assert "error: compilation failed" in done.err


@pytest.mark.parametrize("code,words", [
    ("", "no class declared"), ("class Main { }", "no public static void main"),
    ("package a.b; class C { static void main(String[] a) { } }", "no public static void main"),
], ids=repr)
def test_files_without_a_program_are_told(run, code, words):
    done = run(code)
    assert done.code == 1 and words in done.err, done


def test_a_file_for_a_shell_with_packages_records_and_several_classes(run):
    done = run("#!/usr/bin/java --source 17\npackage a.b;\nimport java.util.stream.*;\n"
               "public class First {\n  public static void main(String[] args) {\n"
               "    System.out.println(new Pair(\"x\", IntStream.range(0, 5).sum()) + \" \" + Other.text());\n"
               "  }\n  record Pair(String a, int b) { }\n}\n"
               "class Other { static String text() { return Other.class.getName(); } }\n")
    assert (done.code, done.out) == (0, "Pair[a=x, b=10] a.b.Other\n"), done


def test_standard_input_as_source(spored):
    code = main('System.out.println("from stdin");')
    done = spored.cli("run", "--runtime", "java", "-", input=code.encode())
    assert (done.code, done.out) == (0, "from stdin\n"), done


@pytest.fixture
def app(tmp_path):
    out = tmp_path / "classes"
    out.mkdir()
    java.compile_into(out, {"Main.java": main(
        'System.out.println(args.length + " " + new String(Main.class.getResourceAsStream("/note.txt")'
        '.readAllBytes()) + " " + System.getProperty("user.dir") + " "'
        ' + (ClassLoader.getSystemClassLoader() == Main.class.getClassLoader()));')})
    (out / "note.txt").write_text("a resource")
    return out


def test_jars(spored, app, tmp_path):
    done = spored.cli("run", java.jar(app, tmp_path / "app.jar", "Main"), "a", "b")
    assert (done.code, done.out) == (0, "2 a resource /tmp true\n"), done


def test_a_jar_larger_than_a_script_may_be(spored, app, tmp_path):
    (app / "large").write_bytes(os.urandom(5 << 20))
    done = spored.cli("run", java.jar(app, tmp_path / "large.jar", "Main"))
    assert (done.code, done.out) == (0, "0 a resource /tmp true\n"), done


def test_jars_that_cannot_be_run(spored, app, tmp_path):
    done = spored.cli("run", java.jar(app, tmp_path / "none.jar"))
    assert done.code == 1 and "no main manifest attribute, in" in done.err, done
    done = spored.cli("run", java.jar(app, tmp_path / "other.jar", "Other"))
    assert done.code == 1 and "could not load main class Other" in done.err, done
    (tmp_path / "junk.jar").write_bytes(os.urandom(3000))
    done = spored.cli("run", tmp_path / "junk.jar")
    assert done.code == 1 and "junk.jar" in done.err, done
    (tmp_path / "empty.jar").write_bytes(b"")
    done = spored.cli("run", tmp_path / "empty.jar")
    assert done.code == 126 and "empty" in done.err, done
    done = spored.cli("run", tmp_path / "absent.jar")
    assert done.code == 127, done


def test_limits_are_told(run):
    done = run(main("while (true) { }"), options=["--timeout", "3s"])
    assert done.code == 124 and "timed out" in done.err, done
    done = run(main("List<byte[]> kept = new ArrayList<>(); while (true) kept.add(new byte[1 << 20]);"),
               options=["--memory", "128M"])
    assert done.code == 1 and "OutOfMemoryError: Java heap space" in done.err, done


def test_environment(run):
    done = run(main('System.out.println(System.getenv("A") + System.getenv("LD_PRELOAD"));'),
               options=["--env", "A=b"])
    assert done.out == "bnull\n", done


def test_an_interrupt_ends_it(spored, tmp_path):
    script = tmp_path / "Main.java"
    script.write_text(main('System.out.println("up"); Thread.sleep(100000);'))
    process = subprocess.Popen(
        [daemon.find_program("spore"), "--socket", str(spored.socket), "run", str(script)],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=daemon.environment())
    assert process.stdout.readline() == b"up\n"
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    process.communicate()


def test_programs_draw_different_random_numbers(run):
    code = main("System.out.println(new Random().nextLong() + \" \" + Math.random() + \" \" + UUID.randomUUID());")
    answers = [run(code).out.split() for _ in range(4)]
    assert all(len(set(column)) == 4 for column in zip(*answers)), answers
