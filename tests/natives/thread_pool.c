// A library with threads of its own as soon as it is loaded, as numerical and RPC libraries have
// them: a pool that waits on a condition variable, and a poller that waits for an eventfd.
#include <pthread.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { kWorkers = 6 };

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int round_number, left, poked, poller_set, poller_event;
static long squares_of, sums[kWorkers];
static __thread long rounds_of_thread;
static pthread_t workers[kWorkers];

static void* Work(void* argument) {
  const long me = (long)(intptr_t)argument;
  pthread_mutex_lock(&mutex);
  for (int seen = 0;;) {
    while (round_number == seen) pthread_cond_wait(&changed, &mutex);
    seen = round_number;
    pthread_mutex_unlock(&mutex);
    long sum = 0;
    for (long i = me; i <= squares_of; i += kWorkers) sum += i * i;
    ++rounds_of_thread;
    pthread_mutex_lock(&mutex);
    sums[me] = rounds_of_thread == seen ? sum : -1;
    if (--left == 0) pthread_cond_broadcast(&changed);
  }
  return 0;
}

static void* Poll(void* nothing) {
  for (;;) {
    struct epoll_event event;
    uint64_t count = 0;
    if (epoll_wait(poller_set, &event, 1, -1) != 1) continue;
    if (read(poller_event, &count, sizeof count) != sizeof count) continue;
    pthread_mutex_lock(&mutex);
    poked += (int)count;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&mutex);
  }
  return nothing;
}

// 1 + 4 + 9 + ... + n * n, a part by each worker.
long sum_of_squares(long n) {
  pthread_mutex_lock(&mutex);
  squares_of = n;
  left = kWorkers;
  ++round_number;
  pthread_cond_broadcast(&changed);
  while (left > 0) pthread_cond_wait(&changed, &mutex);
  long sum = 0;
  for (int i = 0; i < kWorkers; ++i) sum = sums[i] < 0 || sum < 0 ? -1 : sum + sums[i];
  pthread_mutex_unlock(&mutex);
  return sum;
}

// Wakes the poller, waits until it has told, and returns how often it was woken so far.
int poke(void) {
  const uint64_t one = 1;
  pthread_mutex_lock(&mutex);
  const int before = poked;
  if (write(poller_event, &one, sizeof one) != sizeof one) return -1;
  while (poked == before) pthread_cond_wait(&changed, &mutex);
  const int now = poked;
  pthread_mutex_unlock(&mutex);
  return now;
}

static void* Call(void* function) {
  ((void (*)(void))function)();
  return 0;
}

// In a thread of its own.
int call_elsewhere(void (*function)(void)) {
  pthread_t thread;
  return pthread_create(&thread, 0, Call, (void*)function);
}

__attribute__((constructor)) static void StartAtLoad(void) {
  pthread_t poller;
  struct epoll_event event = {.events = EPOLLIN};
  poller_set = epoll_create1(EPOLL_CLOEXEC);
  poller_event = eventfd(0, EFD_CLOEXEC);
  epoll_ctl(poller_set, EPOLL_CTL_ADD, poller_event, &event);
  pthread_create(&poller, 0, Poll, 0);
  for (long i = 0; i < kWorkers; ++i) pthread_create(&workers[i], 0, Work, (void*)(intptr_t)i);
}
