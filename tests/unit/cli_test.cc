// The spore command's own parts: units, tables, JSON, words for deaths, and the relay of `run`.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <string>

#include "spore/v1/spore.pb.h"
#include "tools/client/memfd.h"
#include "tools/spore/output.h"
#include "tools/spore/relay.h"
#include "tools/spore/run_program.h"
#include "tools/spore/units.h"

namespace spore::cli {
namespace {

TEST(UnitsTest, SizesInPowersOf1024) {
  EXPECT_EQ(ParseSize("128M"), 128u << 20);
  EXPECT_EQ(ParseSize("64KiB"), 64u << 10);
  EXPECT_EQ(ParseSize("1.5g"), 3u << 29);
  EXPECT_EQ(ParseSize("4096"), 4096u);
  for (const char* wrong : {"", "M", "-1M", "+1", "1X", "1 M", "1e3", "0x10", "nan", "99999999T"}) {
    EXPECT_FALSE(ParseSize(wrong)) << wrong;
  }
}

TEST(UnitsTest, DurationsInMilliseconds) {
  EXPECT_EQ(ParseDuration("30s"), 30000u);
  EXPECT_EQ(ParseDuration("250ms"), 250u);
  EXPECT_EQ(ParseDuration("1.5m"), 90000u);
  EXPECT_EQ(ParseDuration("2h"), 7200000u);
  EXPECT_EQ(ParseDuration("7"), 7000u);
  EXPECT_FALSE(ParseDuration("7y"));
}

TEST(UnitsTest, Cpus) {
  EXPECT_EQ(ParseCpus("0.5"), 500u);
  EXPECT_EQ(ParseCpus("2"), 2000u);
  EXPECT_FALSE(ParseCpus("1.0.0"));
  EXPECT_FALSE(ParseCpus("9999999999"));
}

TEST(UnitsTest, ForPeople) {
  EXPECT_EQ(HumanBytes(0), "0 B");
  EXPECT_EQ(HumanBytes(1536), "1.5 KiB");
  EXPECT_EQ(HumanBytes(128u << 20), "128 MiB");
  EXPECT_EQ(HumanMicroseconds(999), "999 us");
  EXPECT_EQ(HumanMicroseconds(1250), "1.25 ms");
  EXPECT_EQ(HumanMicroseconds(30'000'000), "30 s");
  EXPECT_EQ(HumanMicroseconds(125'000'000), "2m 5s");
  EXPECT_EQ(HumanAge(0), "-");
}

TEST(RunProgramTest, WhichProgramsAreTheImages) {
  for (const char* image : {"gzip", "a b", "", "/usr/bin/gzip", "/bin/sh", "/sbin/ldconfig",
                            "/lib64/ld-linux-x86-64.so.2"}) {
    EXPECT_TRUE(IsProgramOfImage(image)) << image;
  }
  for (const char* callers : {"./gzip", "bin/gzip", "/home/usr/bin/x", "/usr", "../usr/bin/x",
                              "/opt/x", "/usrx/y", "/libexec/x"}) {
    EXPECT_FALSE(IsProgramOfImage(callers)) << callers;
  }
}

TEST(RunProgramTest, ProgramsAreCopiedAndSealed) {
  char path[] = "/tmp/spore-cli-test-XXXXXX";
  const client::Fd file(::mkostemp(path, O_CLOEXEC));
  EXPECT_EQ(126, LoadProgram(path, true).error().exit_code);  // not executable
  ASSERT_EQ(0, ::fchmod(file.get(), 0755));
  EXPECT_EQ(126, LoadProgram(path, true).error().exit_code);  // empty
  ASSERT_TRUE(client::WriteAll(file.get(), "#!/bin/true", "file"));
  auto program = LoadProgram(path, true);
  ASSERT_TRUE(program);
  EXPECT_EQ("#!/bin/true", client::ReadMemfd(*program, 100).value());
  EXPECT_EQ(F_SEAL_WRITE, ::fcntl(program->get(), F_GET_SEALS) & F_SEAL_WRITE);
  ::unlink(path);
  EXPECT_EQ(127, LoadProgram(path, true).error().exit_code);
  EXPECT_EQ(126, LoadProgram("/tmp", true).error().exit_code);
}

TEST(OutputTest, TablesAreAligned) {
  Table table({{"NAME"}, {"N", Align::kRight}});
  table.Add({"a", "1000"});
  table.Add({"na\xc3\xafve", "1"});
  EXPECT_EQ(table.Text(false), "NAME      N\na      1000\nna\xc3\xafve     1\n");
}

TEST(OutputTest, JsonKeepsNumbersAndNames) {
  v1::Function function;
  function.set_version(18446744073709551615u);
  function.mutable_settings()->mutable_limits()->set_memory_bytes(134217728);
  const auto json = ToJson(function);
  EXPECT_EQ(json["version"], 18446744073709551615u);
  EXPECT_EQ(json["settings"]["limits"]["memory_bytes"], 134217728);
  EXPECT_EQ(json["name"], "") << "what is empty is still there";
  v1::StatsResponse stats;
  (*stats.mutable_starts())["warm"] = 3;
  EXPECT_EQ(ToJson(stats)["starts"]["warm"], 3);
}

TEST(OutputTest, JsonOfBytesIsSound) {
  EXPECT_EQ(TextJson("plain \"text\""), "plain \"text\"");
  EXPECT_EQ(TextJson("\xff"), "\xef\xbf\xbd");
}

TEST(OutputTest, ControlCharactersAreMadeVisible) {
  EXPECT_EQ(Visible("tab\t line\nna\xc3\xafve \xe2\x98\x83 \xf0\x9f\x98\x80"),
            "tab\t line\nna\xc3\xafve \xe2\x98\x83 \xf0\x9f\x98\x80");
  EXPECT_EQ(Visible("\x1b[31m\r\x07\x7f"), "\\x1b[31m\\x0d\\x07\\x7f");
  EXPECT_EQ(Visible("\xc2\x80 \xc2\x9b \xc2\x9f \xc2\xa0"), "\\u0080 \\u009b \\u009f \xc2\xa0");
  // What is not UTF-8: a bare CSI of an 8-bit terminal, overlong forms, a cut character.
  EXPECT_EQ(Visible("\x9b"
                    "5n"),
            "\\x9b5n");
  EXPECT_EQ(Visible("\xc0\x9b"), "\\xc0\\x9b");
  EXPECT_EQ(Visible("\xe0\x82\x9b"), "\\xe0\\x82\\x9b");
  EXPECT_EQ(Visible("\xf0\x80\x82\x9b"), "\\xf0\\x80\\x82\\x9b");
  EXPECT_EQ(Visible("\xe2\x98"), "\\xe2\\x98");
}

TEST(OutputTest, JsonCanBeShownOnATerminal) {
  const nlohmann::ordered_json json = "\x1b \x7f \xc2\x9b \xc2\xa0";
  EXPECT_EQ(JsonText(json, -1), "\"\\u001b \\u007f \\u009b \xc2\xa0\"");
  EXPECT_EQ(nlohmann::ordered_json::parse(JsonText(json, -1)), json);
}

TEST(OutputTest, DeathsAreTold) {
  v1::Death death;
  death.set_cause(v1::Death::OUT_OF_MEMORY);
  death.mutable_usage()->set_memory_limit_bytes(128u << 20);
  death.mutable_usage()->set_memory_peak_bytes(127u << 20);
  EXPECT_EQ(DescribeDeath(death, 0), "out of memory (limit 128 MiB, peak 127 MiB)");
  death.set_cause(v1::Death::TIMEOUT);
  EXPECT_EQ(DescribeDeath(death, 1500), "timed out (limit 1.5 s)");
  death.set_cause(v1::Death::SIGNAL);
  death.set_signal(SIGSEGV);
  EXPECT_EQ(DescribeDeath(death, 0), "SIGSEGV");
  death.set_cause(v1::Death::EVICTION);
  death.set_message("idle for 60 s");
  EXPECT_EQ(DescribeDeath(death, 0), "eviction: idle for 60 s");
}

TEST(OutputTest, TraceIsAWaterfall) {
  v1::Trace trace;
  trace.set_total_us(40);
  auto* step = trace.add_steps();
  step->set_process("zygote");
  step->set_name("clone3");
  step->set_start_us(20);
  step->set_duration_us(10);
  const std::string text = TraceText(trace);
  EXPECT_NE(text.find("zygote   clone3        20       10  "), std::string::npos) << text;
  EXPECT_NE(text.find("....................##########.........."), std::string::npos) << text;
}

struct Ends {
  client::Fd read;
  client::Fd write;
};

Ends MakeEnds() {
  std::array<int, 2> ends{};
  EXPECT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
  return {client::Fd(ends[0]), client::Fd(ends[1])};
}

TEST(PumpTest, ReadsNoMoreThanItHasWritten) {
  Ends foreign = MakeEnds();
  Ends script = MakeEnds();
  Pump pump(Pump::Side::kToScript, std::move(script.write), foreign.read.get());
  ASSERT_TRUE(client::WriteAll(foreign.write.get(), "abc", "pipe"));
  EXPECT_EQ(pump.PollIn(), foreign.read.get());
  EXPECT_EQ(pump.PollOut(), -1);
  pump.Read();
  EXPECT_EQ(pump.PollIn(), -1);
  pump.Write();
  EXPECT_EQ(pump.PollIn(), foreign.read.get());
  foreign.write.Reset();
  pump.Read();
  EXPECT_TRUE(pump.done());
  EXPECT_EQ(*client::ReadAll(script.read.get(), 10, "pipe"), "abc") << "and then the end";
}

TEST(PumpTest, ScriptThatReadsNoMoreEndsIt) {
  const auto previous = std::signal(SIGPIPE, SIG_IGN);
  Ends foreign = MakeEnds();
  Ends script = MakeEnds();
  Pump pump(Pump::Side::kToScript, std::move(script.write), foreign.read.get());
  ASSERT_TRUE(client::WriteAll(foreign.write.get(), "abc", "pipe"));
  script.read.Reset();
  pump.Read();
  pump.Write();
  EXPECT_TRUE(pump.done());
  EXPECT_EQ(pump.write_error(), 0);
  std::signal(SIGPIPE, previous);
}

TEST(PumpTest, LostOutputIsRemembered) {
  const client::Fd full(::open("/dev/full", O_WRONLY | O_CLOEXEC));
  ASSERT_TRUE(full.valid());
  Ends script = MakeEnds();
  Pump pump(Pump::Side::kFromScript, std::move(script.read), full.get());
  ASSERT_TRUE(client::WriteAll(script.write.get(), "abc", "pipe"));
  pump.Read();
  pump.Write();
  EXPECT_TRUE(pump.done());
  EXPECT_EQ(pump.write_error(), ENOSPC);
}

}  // namespace
}  // namespace spore::cli
