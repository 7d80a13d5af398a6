#include "zygote/hosts/java/renewal.h"

#include <fcntl.h>
#include <sys/random.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include "sandbox/sys/unique_fd.h"
#include "zygote/hosts/java/jni_util.h"
#include "zygote/hosts/java/random_instances.h"

namespace spore::java {
namespace {

// A descriptor of the kernel's random devices, which has state after all: its flags.
struct Device {
  int fd;
  const char* path;
};

struct Renewal {
  std::vector<Device> devices;
  // Counters from which the seeds of generators to come are drawn: AtomicLong.
  std::vector<jobject> seeders;
  jfieldID atomic_value = nullptr;
  // What each thread's ThreadLocalRandom goes on from.
  std::vector<jobject> threads;
  jfieldID thread_seed = nullptr, thread_secondary = nullptr;
  // Math.random's own generator, and the AtomicLong that is its state.
  jobject math_random = nullptr, math_seed = nullptr;
  jfieldID has_gaussian = nullptr;
  // ProcessHandle.current().
  jobject process = nullptr;
  jclass process_type = nullptr;
  jfieldID pid = nullptr, start_time = nullptr;
  jmethodID start_time_of = nullptr;
  // SecureRandomSpi objects that hold a state. Of SHA1PRNG it is an array, and a count of bytes
  // that were made ahead; DRBG's is in the hands of several classes, which seed it themselves.
  std::vector<jobject> sha1_generators;
  std::vector<jbyteArray> sha1_states;
  jfieldID sha1_buffered = nullptr;
  std::vector<jobject> drbg_generators;
  jmethodID engine_set_seed = nullptr;
};
Renewal renewal;

constexpr jsize kSha1Bytes = 20;
constexpr jsize kDrbgSeedBytes = 32;

void FindSeeders(Lookup& find, const std::vector<jobject>& threads) {
  constexpr const char* kAtomicLong = "Ljava/util/concurrent/atomic/AtomicLong;";
  renewal.seeders = {
      find.StaticObject("java/util/concurrent/ThreadLocalRandom", "seeder", kAtomicLong),
      find.StaticObject("java/util/Random", "seedUniquifier", kAtomicLong),
      find.StaticObject("java/util/SplittableRandom", "defaultGen", kAtomicLong),
  };
  renewal.atomic_value =
      find.Field(find.Class("java/util/concurrent/atomic/AtomicLong"), "value", "J");
  const jclass thread = find.Class("java/lang/Thread");
  renewal.thread_seed = find.Field(thread, "threadLocalRandomSeed", "J");
  renewal.thread_secondary = find.Field(thread, "threadLocalRandomSecondarySeed", "I");
  renewal.threads = threads;
  renewal.math_random = find.StaticObject("java/lang/Math$RandomNumberGeneratorHolder",
                                          "randomNumberGenerator", "Ljava/util/Random;");
  const jclass random = find.Class("java/util/Random");
  renewal.has_gaussian = find.Field(random, "haveNextNextGaussian", "Z");
  renewal.math_seed = find.Object(renewal.math_random, random, "seed", kAtomicLong);
}

void FindProcess(Lookup& find) {
  renewal.process =
      find.StaticObject("java/lang/ProcessHandleImpl", "current", "Ljava/lang/ProcessHandleImpl;");
  renewal.process_type = find.Class("java/lang/ProcessHandleImpl");
  renewal.pid = find.Field(renewal.process_type, "pid", "J");
  renewal.start_time = find.Field(renewal.process_type, "startTime", "J");
  renewal.start_time_of = find.StaticMethod(renewal.process_type, "isAlive0", "(J)J");
}

// NativePRNG mixes nothing of its own into the kernel's bytes unless somebody seeds it, but reads
// them ahead: "buffered" is how many it still has.
void EmptyBuffers(JNIEnv* env, Lookup& find) {
  constexpr const char* kBuffer = "Lsun/security/provider/NativePRNG$RandomIO;";
  const jfieldID buffered =
      find.Field(find.Class("sun/security/provider/NativePRNG$RandomIO"), "buffered", "I");
  const jobject usual = find.StaticObject("sun/security/provider/NativePRNG", "INSTANCE", kBuffer);
  const jobject blocking =
      find.StaticObject("sun/security/provider/NativePRNG$Blocking", "INSTANCE", kBuffer);
  const jobject non_blocking =
      find.StaticObject("sun/security/provider/NativePRNG$NonBlocking", "INSTANCE", kBuffer);
  if (!find.missing().empty()) return;
  for (const jobject source : {usual, blocking, non_blocking})
    env->SetIntField(source, buffered, 0);
}

void FindDevices() {
  constexpr int kHighest = 256;
  for (int fd = 0; fd < kHighest; ++fd) {
    char target[64] = {};
    const std::string link = "/proc/self/fd/" + std::to_string(fd);
    if (readlink(link.c_str(), target, sizeof target - 1) < 0) continue;
    for (const char* path : {"/dev/random", "/dev/urandom"}) {
      if (strcmp(target, path) == 0) renewal.devices.push_back({fd, path});
    }
  }
}

// Of this process alone from now on, under the same numbers.
bool ReopenDevices() {
  for (const Device& device : renewal.devices) {
    const UniqueFd own(open(device.path, O_RDONLY | O_CLOEXEC));
    if (!own || dup3(own.get(), device.fd, O_CLOEXEC) < 0) return false;
  }
  return true;
}

// Collections.shuffle keeps a generator from its first use on.
void ForgetShuffler(JNIEnv* env, Lookup& find) {
  const jclass collections = find.Class("java/util/Collections");
  const jfieldID generator = find.StaticField(collections, "r", "Ljava/util/Random;");
  if (find.missing().empty()) env->SetStaticObjectField(collections, generator, nullptr);
}

bool FindSecure(JNIEnv* env, Lookup& find) {
  constexpr const char* kSha1 = "sun/security/provider/SecureRandom";
  const jclass sha1 = find.Class(kSha1);
  const jfieldID state = find.Field(sha1, "state", "[B");
  renewal.sha1_buffered = find.Field(sha1, "remCount", "I");
  renewal.engine_set_seed =
      find.Method(find.Class("java/security/SecureRandomSpi"), "engineSetSeed", "([B)V");
  if (!find.missing().empty()) return true;
  std::vector<jobject> found;
  if (!FindInstances(env, kSha1, found)) return false;
  for (const jobject generator : found) {
    auto* bytes = static_cast<jbyteArray>(Keep(env, env->GetObjectField(generator, state)));
    if (bytes == nullptr) continue;  // seeds itself at its first use
    renewal.sha1_generators.push_back(generator);
    renewal.sha1_states.push_back(bytes);
  }
  return FindInstances(env, "sun/security/provider/DRBG", renewal.drbg_generators);
}

template <typename T>
T Take(const unsigned char*& random) {
  T value;
  memcpy(&value, random, sizeof value);
  random += sizeof value;
  return value;
}

bool FillRandom(std::vector<unsigned char>& bytes) {
  for (size_t at = 0; at < bytes.size();) {
    const ssize_t got = getrandom(bytes.data() + at, bytes.size() - at, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    at += static_cast<size_t>(got);
  }
  return true;
}

// What Random.setSeed would leave: 48 bits count.
void SeedMathRandom(JNIEnv* env, jlong seed) {
  env->SetLongField(renewal.math_seed, renewal.atomic_value, seed & ((jlong{1} << 48) - 1));
  env->SetBooleanField(renewal.math_random, renewal.has_gaussian, JNI_FALSE);
}

void RenewProcess(JNIEnv* env) {
  const jlong pid = getpid();
  // A native method, which throws nothing; -1 when /proc does not tell.
  const jlong started = env->CallStaticLongMethod(renewal.process_type, renewal.start_time_of, pid);
  env->SetLongField(renewal.process, renewal.pid, pid);
  env->SetLongField(renewal.process, renewal.start_time, started);
}

void SeedSha1(JNIEnv* env, const unsigned char* random) {
  for (size_t i = 0; i < renewal.sha1_states.size(); ++i, random += kSha1Bytes) {
    env->SetByteArrayRegion(renewal.sha1_states[i], 0, kSha1Bytes,
                            reinterpret_cast<const jbyte*>(random));
    env->SetIntField(renewal.sha1_generators[i], renewal.sha1_buffered, 0);
  }
}

bool SeedDrbg(JNIEnv* env, const unsigned char* random) {
  for (const jobject generator : renewal.drbg_generators) {
    const jbyteArray seed = env->NewByteArray(kDrbgSeedBytes);
    if (seed == nullptr) return false;
    env->SetByteArrayRegion(seed, 0, kDrbgSeedBytes, reinterpret_cast<const jbyte*>(random));
    env->CallVoidMethod(generator, renewal.engine_set_seed, seed);
    if (env->ExceptionCheck() != 0) return false;
    random += kDrbgSeedBytes;
  }
  return true;
}

}  // namespace

std::string PrepareRenewal(JNIEnv* env, jobjectArray threads) {
  renewal = {};  // in a zygote's copy, what that found; some dozens of references stay
  Lookup find(env);
  std::vector<jobject> kept;
  for (jsize i = 0; i < env->GetArrayLength(threads); ++i)
    kept.push_back(Keep(env, env->GetObjectArrayElement(threads, i)));
  FindSeeders(find, kept);
  FindProcess(find);
  EmptyBuffers(env, find);
  ForgetShuffler(env, find);
  FindDevices();
  if (!FindSecure(env, find)) return "JVM tool interface";
  return find.missing();
}

std::string RenewAhead(JNIEnv* env) {
  std::vector<unsigned char> bytes((renewal.seeders.size() + 1) * sizeof(jlong) +
                                   renewal.threads.size() * (sizeof(jlong) + sizeof(jint)) +
                                   renewal.sha1_states.size() * kSha1Bytes);
  if (!FillRandom(bytes) || !ReopenDevices())
    return std::string("fresh randomness: ") + strerror(errno);
  const unsigned char* next = bytes.data();
  for (const jobject seeder : renewal.seeders)
    env->SetLongField(seeder, renewal.atomic_value, Take<jlong>(next));
  for (const jobject thread : renewal.threads) {
    env->SetLongField(thread, renewal.thread_seed, Take<jlong>(next));
    env->SetIntField(thread, renewal.thread_secondary, Take<jint>(next));
  }
  SeedMathRandom(env, Take<jlong>(next));
  SeedSha1(env, next);
  RenewProcess(env);
  return {};
}

bool RenewRest(JNIEnv* env) {
  if (renewal.drbg_generators.empty()) return true;
  std::vector<unsigned char> bytes(renewal.drbg_generators.size() * kDrbgSeedBytes);
  if (FillRandom(bytes)) return SeedDrbg(env, bytes.data());
  Throw(env, std::string("fresh randomness: ") + strerror(errno));
  return false;
}

}  // namespace spore::java
