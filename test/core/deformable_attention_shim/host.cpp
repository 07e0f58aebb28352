// deformable_attention.cu on the CPU: every thread of a block is a coroutine, and every barrier or
// exchange of a warp hands on to the next one. Blocks run one after another.

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ucontext.h>

#define __device__
#define __global__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __shared__ static

struct float2 { float x, y; };
struct float4 { float x, y, z, w; };
struct uint2 { unsigned x, y; };
struct uint4 { unsigned x, y, z, w; };
struct Index { unsigned x; };

static Index threadIdx, blockIdx;

template <class T> T __ldg(const T *at) { return *at; }

template <class To, class From> To reinterpret_bits(From from) {
    To to;
    static_assert(sizeof(to) == sizeof(from), "the same bits");
    std::memcpy(&to, &from, sizeof(to));
    return to;
}
static float __uint_as_float(unsigned bits) { return reinterpret_bits<float>(bits); }
static float __int_as_float(int bits) { return reinterpret_bits<float>(bits); }
static unsigned __float_as_uint(float number) { return reinterpret_bits<unsigned>(number); }

static void halves_to_floats(unsigned word, float &low, float &high) {
    low = reinterpret_bits<_Float16>(static_cast<unsigned short>(word));
    high = reinterpret_bits<_Float16>(static_cast<unsigned short>(word >> 16));
}
static unsigned floats_to_halves(float low, float high) {
    return reinterpret_bits<unsigned short>(static_cast<_Float16>(low)) |
           static_cast<unsigned>(reinterpret_bits<unsigned short>(static_cast<_Float16>(high)))
               << 16;
}
static void add_four(float *sum, float a, float b, float c, float d) {
    sum[0] += a;
    sum[1] += b;
    sum[2] += c;
    sum[3] += d;
}

static ucontext_t scheduler, threads[BLOCK];
static char stacks[BLOCK][1 << 16];
static float exchanged[BLOCK];
static int meetings[BLOCK];  // how often a thread has met the others

static void meet() {
    const unsigned thread = threadIdx.x;
    ++meetings[thread];
    swapcontext(&threads[thread], &scheduler);
}

static void __syncwarp() { meet(); }

static float __shfl_xor_sync(unsigned, float number, int lanes) {
    const unsigned thread = threadIdx.x;
    exchanged[thread] = number;
    meet();
    const float answer = exchanged[thread ^ lanes];
    meet();
    return answer;
}

#include SOURCE

static void (*kernel)(Parameters);
static const Parameters *arguments;
static int running;

static void run_thread() {
    kernel(*arguments);
    --running;
}

static void run(void (*chosen)(Parameters), const Parameters *parameters, unsigned blocks) {
    kernel = chosen;
    arguments = parameters;
    for (blockIdx.x = 0; blockIdx.x < blocks; ++blockIdx.x) {
        bool done[BLOCK] = {};
        for (int thread = 0; thread < BLOCK; ++thread) {
            meetings[thread] = 0;
            getcontext(&threads[thread]);
            threads[thread].uc_stack.ss_sp = stacks[thread];
            threads[thread].uc_stack.ss_size = sizeof(stacks[thread]);
            threads[thread].uc_link = &scheduler;
            makecontext(&threads[thread], run_thread, 0);
        }
        for (running = BLOCK; running > 0;) {
            for (int thread = 0; thread < BLOCK; ++thread) {
                if (done[thread]) continue;
                const int before = running;
                threadIdx.x = thread;
                swapcontext(&scheduler, &threads[thread]);
                done[thread] = running < before;
            }
            for (int thread = 0; thread < BLOCK; ++thread) {
                const int first = thread / 32 * 32;
                if (meetings[thread] != meetings[first] || done[thread] != done[first]) {
                    std::fprintf(stderr, "threads %d and %d of a warp went apart\n", first, thread);
                    std::abort();
                }
            }
        }
    }
}

extern "C" unsigned parameters_size() { return sizeof(Parameters); }
extern "C" void run_attend_located(const Parameters *p, unsigned n) { run(attend_located, p, n); }
extern "C" void run_attend_from_layers(const Parameters *p, unsigned n) {
    run(attend_from_layers, p, n);
}
extern "C" void run_attend_backward(const Parameters *p, unsigned n) { run(attend_backward, p, n); }
