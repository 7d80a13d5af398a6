// Stands where CRIU's loader is, and does what a CRIU could do that images have taken over: it is
// called twice, first to look at the kernel and then to restore; or once, to dump. What it shall do
// is in the images' `mode`. What it restores has number 50, and the other end of its socket is
// descriptor 4.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/keyctl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define PLACE "/run/spore/checkpoint"
#define FACTS PLACE "/kernel/criu.kdat"
#define USR "/run/spore/criu"

static char mode[64];

static int is(const char* name) { return strcmp(mode, name) == 0; }

static void fail(const char* what) {
  dprintf(2, "Error (hostile_criu.c:1): %s: %s\n", what, strerror(errno));
  _exit(1);
}

static void give_up_capabilities(void) {
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct data[2] = {{0}, {0}};
  if (syscall(SYS_capset, &header, data) < 0) fail("capset");
}

static void send_descriptor(int socket, int fd) {
  char control[CMSG_SPACE(sizeof fd)] = {0}, byte = 'x';
  struct iovec part = {&byte, 1};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control,
                           .msg_controllen = sizeof control};
  struct cmsghdr* item = CMSG_FIRSTHDR(&message);
  item->cmsg_level = SOL_SOCKET;
  item->cmsg_type = SCM_RIGHTS;
  item->cmsg_len = CMSG_LEN(sizeof fd);
  memcpy(CMSG_DATA(item), &fd, sizeof fd);
  if (sendmsg(socket, &message, 0) != 1) fail("send a descriptor");
}

static void keep_in_message(void) {
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0) fail("socketpair");
  const int fd = open("/proc/stat", O_RDONLY);
  send_descriptor(pair[0], fd);
  close(fd);
}

static const struct sockaddr_un backlog = {AF_UNIX, "/tmp/backlog"};

static void listen_for_all(void) {
  const int listener = socket(AF_UNIX, SOCK_STREAM, 0);
  if (bind(listener, (const struct sockaddr*)&backlog, sizeof backlog) < 0 ||
      listen(listener, 1) < 0)
    fail("listen");
}

// On a connection that nobody has accepted.
static void send_to_backlog(void) {
  const int client = socket(AF_UNIX, SOCK_STREAM, 0);
  if (connect(client, (const struct sockaddr*)&backlog, sizeof backlog) < 0) fail("connect");
  const int fd = open("/proc/stat", O_RDONLY);
  send_descriptor(client, fd);
  close(fd);
  close(client);
}

// The agent's last word before it does what nobody can wait for.
static void tell_ready(void) {
  const int fd = open("/tmp/ready", O_WRONLY | O_CREAT, 0600);
  if (fd < 0) fail("open /tmp/ready");
  close(fd);
}

static __attribute__((noreturn)) int spin(void* unused) {
  (void)unused;
  for (;;) {
  }
}

static __attribute__((noreturn)) int hold_stat(void* unused) {
  (void)unused;
  if (open("/proc/stat", O_RDONLY) < 0) fail("open");
  for (;;) syscall(SYS_pause);
}

static __attribute__((noreturn)) int rest(void* unused) {
  (void)unused;
  for (;;) syscall(SYS_pause);
}

static void thread(int (*body)(void*), int flags) {
  char* stack = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (clone(body, stack + 65536, CLONE_VM | CLONE_FS | CLONE_SIGHAND | CLONE_THREAD | flags, NULL) < 0)
    fail("clone a thread");
  usleep(100000);
}

static void bear(void) {
  for (;;) {
    if (fork() == 0 && fork() == 0) spin(NULL);
    while (waitpid(-1, NULL, WNOHANG) > 0) {
    }
  }
}

static pid_t stopped_child(void) {
  const pid_t pid = fork();
  if (pid == 0) {
    kill(getpid(), SIGSTOP);
    _exit(0);
  }
  return pid;
}

// One that runs ends another, which was let go before it, as soon as it is itself, which its filters
// tell it: many are let go after it, before any is continued.
static void end_one(void) {
  signal(SIGCHLD, SIG_IGN);
  const pid_t victim = stopped_child();
  if (fork() == 0) {
    while (ptrace(PTRACE_PEEKDATA, 0, NULL, NULL) == 0 || errno != EPERM) {
    }
    kill(victim, SIGKILL);
    _exit(0);
  }
  for (int i = 0; i < 50; ++i) stopped_child();
  usleep(100000);
}

static FILE* tried;
static void tell(const char* name, long result) {
  fprintf(tried, "%s=%s\n", name, result >= 0 ? "done" : strerrorname_np(errno));
}

static int nothing(void* unused) {
  (void)unused;
  return 0;
}

static void try_everything(void) {
  static char stack[65536];
  tried = fopen("/tmp/tried", "w");
  if (tried == NULL) fail("open /tmp/tried");
  struct clone_args args = {.flags = CLONE_NEWUSER | CLONE_NEWPID, .exit_signal = SIGCHLD};
  tell("unshare", unshare(CLONE_NEWUSER));
  tell("clone3", syscall(SYS_clone3, &args, sizeof args));
  tell("clone", clone(nothing, stack + sizeof stack, CLONE_NEWUSER | SIGCHLD, NULL));
  tell("clone_parent", clone(nothing, stack + sizeof stack, CLONE_PARENT | SIGCHLD, NULL));
  tell("setns", setns(open("/proc/self/ns/pid", O_RDONLY), 0));
  tell("mount", mount("none", "/tmp", "tmpfs", 0, NULL));
  tell("umount", umount2("/proc", MNT_DETACH));
  tell("fsopen", syscall(SYS_fsopen, "proc", 0));
  tell("chroot", chroot("/tmp"));
  tell("sysrq", open("/proc/sysrq-trigger", O_WRONLY));
  tell("hostname", open("/proc/sys/kernel/hostname", O_WRONLY));
  tell("core_pattern", open("/proc/sys/kernel/core_pattern", O_WRONLY));
  tell("init_memory", open("/proc/1/mem", O_RDONLY));
  tell("init_root", open("/proc/1/root/", O_RDONLY));
  tell("init_score", open("/proc/1/oom_score_adj", O_WRONLY));
  tell("images", open(PLACE "/images/core-50.img", O_WRONLY));
  tell("images_new", open(PLACE "/images/new", O_WRONLY | O_CREAT, 0600));
  tell("facts", open(FACTS, O_WRONLY));
  tell("files", open(PLACE "/files/tmp", O_RDONLY));
  tell("inet", socket(AF_INET, SOCK_STREAM, 0));
  tell("netlink", socket(AF_NETLINK, SOCK_RAW, 0));
  tell("packet", socket(AF_PACKET, SOCK_RAW, 0));
  tell("seccomp", syscall(SYS_seccomp, 1, 0, NULL));
  tell("keyctl", syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL));
  tell("bpf", syscall(SYS_bpf, 0, NULL, 0));
  tell("io_uring", syscall(SYS_io_uring_setup, 1, NULL));
  tell("userfaultfd", syscall(SYS_userfaultfd, 0));
  tell("perf", syscall(SYS_perf_event_open, NULL, 0, -1, -1, 0));
  tell("handle", syscall(SYS_open_by_handle_at, -1, NULL, 0));
  tell("inotify", syscall(SYS_inotify_init1, 0));
  tell("setuid", setresuid(0, 0, 0));
  tell("securebits", prctl(PR_SET_SECUREBITS, 0));
  tell("ambient", prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_SYS_ADMIN, 0, 0));
  tell("trace_init", ptrace(PTRACE_SEIZE, 1, 0, 0));
  tell("trace_parent", ptrace(PTRACE_SEIZE, getppid(), 0, 0));
  tell("kill_parent", kill(getppid(), SIGKILL));
  tell("kill_init", kill(1, SIGKILL));
  tell("device", mknod("/tmp/device", S_IFCHR | 0600, 0x103));
  tell("reboot", syscall(SYS_reboot, 0xfee1dead, 672274793, 0, NULL));
  fclose(tried);
}

// What is restored has nothing to do with the file that CRIU is in.
static void leave_usr(void) {
  char name[] = "agent", *argv[] = {name, mode, NULL}, *none[] = {NULL};
  struct stat status;
  const int from = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
  const int to = memfd_create("agent", MFD_CLOEXEC);
  if (from < 0 || to < 0 || fstat(from, &status) < 0) fail("open a copy");
  while (status.st_size > 0) {
    const ssize_t bytes = sendfile(to, from, NULL, (size_t)status.st_size);
    if (bytes <= 0) fail("copy");
    status.st_size -= bytes;
  }
  execveat(to, "", argv, none, AT_EMPTY_PATH);
  fail("execute a copy");
}

static void agent(void) {
  int pair[2];
  setsid();
  for (int fd = 3; fd < 64; ++fd) close(fd);
  if (!is("capability")) give_up_capabilities();
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0 || pair[1] != 4) fail("socketpair");
  if (is("whole-proc") && open("/proc/stat", O_RDONLY) < 0) fail("open");
  if (is("proc-folder") && chdir("/proc/sys") < 0) fail("chdir");
  if (is("images") && open(FACTS, O_RDONLY) < 0) fail("open");
  if (is("images-path") && open(PLACE, O_PATH) < 0) fail("open");
  if (is("mapping")) {
    const int fd = open(FACTS, O_RDONLY);
    if (mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0) == MAP_FAILED) fail("mmap");
    close(fd);
  }
  if (is("criu-folder") && open(USR, O_RDONLY | O_DIRECTORY) < 0) fail("open");
  if (is("criu-path") && open(USR "/lib64", O_PATH) < 0) fail("open");
  if (is("criu-place") && chdir(USR "/lib64") < 0) fail("chdir");
  if (is("criu-mapping")) {
    const int fd = open(USR "/lib64/ld-linux-x86-64.so.2", O_RDONLY);
    if (mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0) == MAP_FAILED) fail("mmap");
    close(fd);
  }
  if (is("in-message")) keep_in_message();
  if (is("in-backlog") || is("listens")) listen_for_all();
  if (is("in-backlog")) send_to_backlog();
  if (is("own-table")) thread(hold_stat, 0);
  if (is("inet") && socket(AF_INET, SOCK_STREAM, 0) < 0) fail("socket");
  if (is("mptcp") && socket(AF_INET, SOCK_STREAM, 262) < 0) fail("socket");
  if (is("threads")) thread(rest, CLONE_FILES);
  if (is("dead-leader")) {
    thread(rest, CLONE_FILES);
    tell_ready();
    syscall(SYS_exit, 0);
  }
  if (is("vfork") || is("births") || is("running")) tell_ready();
  if (is("vfork") && vfork() == 0) rest(NULL);
  if (is("no-vdso")) {  // its pages are read-only, so they go
    FILE* maps = fopen("/proc/self/maps", "r");
    char line[256];
    unsigned long begin = 0, end = 0;
    while (fgets(line, sizeof line, maps) && !strstr(line, "[vdso]")) {
    }
    sscanf(line, "%lx-%lx", &begin, &end);
    fclose(maps);
    if (munmap((void*)begin, end - begin) < 0) fail("munmap");
  }
  if (is("births")) bear();
  if (is("ends-one")) end_one();
  if (is("running")) spin(NULL);
  kill(getpid(), SIGSTOP);
  // Let go: it says what it can do now.
  char byte = 0;
  while (read(3, &byte, 1) == 1) {
    errno = 0;
    (void)!ptrace(PTRACE_TRACEME);
    dprintf(3, "%s\n", strerrorname_np(errno));
  }
  _exit(0);
}

static void restore(void) {
  const int last = open("/proc/sys/kernel/ns_last_pid", O_WRONLY);
  if (last < 0 || write(last, "49", 2) != 2) fail("ns_last_pid");
  close(last);
  const pid_t pid = fork();
  if (pid < 0) fail("fork");
  if (pid == 0) {
    if (!is("criu-program")) leave_usr();
    agent();
  }
  if (pid != 50) fail("number");
  if (is("running") || is("births") || is("vfork") || is("dead-leader")) {
    while (access("/tmp/ready", F_OK) < 0) usleep(1000);
    usleep(200000);
  } else if (waitpid(pid, NULL, WUNTRACED) != pid) {
    fail("wait");
  }
}

static void read_mode(void) {
  const int fd = open(PLACE "/images/mode", O_RDONLY);
  if (fd < 0 || read(fd, mode, sizeof mode - 1) < 0) fail("mode");
  close(fd);
}

// It has failed, in any case.
static int dump(void) {
  read_mode();
  if (is("sends")) send_to_backlog();
  // What the session could do meanwhile, somebody else does.
  if (is("waits")) {
    close(open("/tmp/waits", O_WRONLY | O_CREAT, 0600));
    while (access("/tmp/waits", F_OK) == 0) usleep(1000);
  }
  return 1;
}

int main(int argc, char** argv) {
  if (argc == 2 && strcmp(argv[0], "agent") == 0) {
    strncpy(mode, argv[1], sizeof mode - 1);
    agent();
  }
  for (int i = 1; i < argc; ++i)
    if (strcmp(argv[i], "dump") == 0) return dump();
  if (access(FACTS, F_OK) < 0) {
    close(open(FACTS, O_WRONLY | O_CREAT, 0600));
    return 1;
  }
  read_mode();
  if (is("complains")) {
    errno = EIO;
    fail("it is \x1b[2J broken");
  }
  if (is("floods")) {
    for (;;) dprintf(2, "Warn  (a.c:1): %s\n", "a line that is of no use to anybody who reads it");
  }
  if (is("hangs")) rest(NULL);
  if (is("killed")) kill(getpid(), SIGKILL);
  if (is("everything")) try_everything();
  if (!is("nothing")) restore();
  return 0;
}
