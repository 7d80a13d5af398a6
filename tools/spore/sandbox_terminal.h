// A pseudoterminal whose slave a program in a sandbox has, behind this process's own terminal.
#pragma once

#include <termios.h>

#include <optional>
#include <string>

#include "tools/spore/context.h"

namespace spore::cli {

class SandboxTerminal {
 public:
  // Makes the pair, of the size of the terminal on standard input, if that is one.
  static Expected<SandboxTerminal> Make();
  SandboxTerminal(SandboxTerminal&&) = default;
  SandboxTerminal& operator=(SandboxTerminal&&) = delete;
  ~SandboxTerminal();  // the own terminal is what it was

  int slave() const { return slave_.get(); }
  // The other side has it.
  void CloseSlave() { slave_.Reset(); }
  // Carries bytes, sizes and hang-ups until `connection` has something to read, then what is left.
  // Gives the signal that ended it, or 0. `interactive`: standard input is carried, too.
  int Relay(int connection, bool interactive);

 private:
  SandboxTerminal() = default;
  void CopySize();
  void EnterRaw();
  enum class Copied { kSome, kEnd, kLost };  // kLost: this process's own terminal is gone
  Copied CopyOut();
  Copied CopyIn();
  void Type();       // what the program's terminal takes of `pending_`
  int TakeSignal();  // one that ends it, or 0

  client::Fd master_, slave_, signals_;
  std::optional<termios> before_;
  std::string pending_;  // typed, not yet taken
};

}  // namespace spore::cli
