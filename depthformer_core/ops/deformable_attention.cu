// Multi-scale deformable attention (Deformable DETR, arXiv 2010.04159, section 4.1).
//
// Compiled for one configuration, which comes as macros:
//   HEADS, LEVELS, POINTS, DIM   of the attention; DIM is a multiple of 8
//   VALUE                        numbers of values and outputs: FLOAT32, FLOAT16 or BFLOAT16
//   PROJECTED                    numbers of offsets and logits, in the fused form
//   BLOCK                        threads of a block
//   GROUP                        lanes that share one query of one head: a power of two up to 32
//
// A group of lanes computes one query of one head. The lanes first share out the samples: each
// finds the four corners of one sample and their weights, once, and leaves them in shared memory.
// Then all lanes walk over those samples together, and each gathers its own 16 bytes of a corner's
// row. The groups of a block are neighbouring queries of one head: they read neighbouring pixels.

#define FLOAT32 0
#define FLOAT16 1
#define BFLOAT16 2

#define MAX_LEVELS 16

struct Parameters {
    const void *value;       // (B, rows, HEADS, DIM) VALUE
    const void *samples;     // (B, Q, HEADS, LEVELS, POINTS, 2): float locations, or offsets
    const void *weights;     // (B, Q, HEADS, LEVELS, POINTS): float weights, or logits
    const float *reference;  // (Q, 2), of the fused form
    const void *gradient;    // (B, Q, HEADS, DIM) VALUE, of the backward pass
    void *output;            // (B, Q, HEADS, DIM) VALUE
    float *value_gradient;   // as value, zero at first
    float *sample_gradient;  // as locations
    float *weight_gradient;  // as weights
    long long rows;          // pixels of all levels
    int queries;
    unsigned tiles;          // blocks of one image and head
    int height[MAX_LEVELS];
    int width[MAX_LEVELS];
    int first[MAX_LEVELS];   // pixel that a level starts with
};

constexpr int VECTOR = VALUE == FLOAT32 ? 4 : 8;        // numbers in 16 bytes
constexpr int VECTORS = DIM / VECTOR;                   // of a row
constexpr int SHARE = (VECTORS + GROUP - 1) / GROUP;    // of a row, for each lane
constexpr int SAMPLES = LEVELS * POINTS;
constexpr int GROUPS = BLOCK / GROUP;
// With this many samples at a time, a lane of a half-precision row waits for eight vectors at once.
constexpr int TOGETHER = SHARE == 1 ? 2 : 1;
// Registers are left for this many threads of a multiprocessor.
constexpr int RESIDENT = SHARE <= 2 ? 1024 : 512;
constexpr unsigned ALL_LANES = 0xffffffffu;

static_assert(DIM % 8 == 0, "rows are read 16 bytes at a time");
static_assert(LEVELS <= MAX_LEVELS, "Parameters has no place for more levels");
static_assert(GROUP >= 1 && GROUP <= 32 && (GROUP & (GROUP - 1)) == 0, "a group is in one warp");
static_assert(BLOCK % 32 == 0, "a block is made of warps");

// ------------------------------------------------------------------------------------- numbers

// Written out, because the headers with these conversions are not on every machine with a GPU.
#ifdef __CUDACC__
__device__ __forceinline__ void halves_to_floats(unsigned word, float &low, float &high) {
    asm("{.reg .b16 l, h; mov.b32 {l, h}, %2; cvt.f32.f16 %0, l; cvt.f32.f16 %1, h;}"
        : "=f"(low), "=f"(high)
        : "r"(word));
}

__device__ __forceinline__ unsigned floats_to_halves(float low, float high) {
    unsigned word;
    asm("{.reg .b16 l, h; cvt.rn.f16.f32 l, %1; cvt.rn.f16.f32 h, %2; mov.b32 %0, {l, h};}"
        : "=r"(word)
        : "f"(low), "f"(high));
    return word;
}

// Add four numbers to four that follow each other, at a multiple of 16 bytes.
__device__ __forceinline__ void add_four(float *sum, float a, float b, float c, float d) {
#if __CUDA_ARCH__ >= 900
    asm volatile("red.global.add.v4.f32 [%0], {%1, %2, %3, %4};" ::"l"(
                     __cvta_generic_to_global(sum)),
                 "f"(a), "f"(b), "f"(c), "f"(d)
                 : "memory");
#else
    atomicAdd(sum, a);
    atomicAdd(sum + 1, b);
    atomicAdd(sum + 2, c);
    atomicAdd(sum + 3, d);
#endif
}
#endif

__device__ __forceinline__ unsigned to_bfloat16(float number) {
    const unsigned bits = __float_as_uint(number);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return (bits >> 16) | 0x40u;  // NaN
    return (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;                  // to the nearest even
}

// A word holds two numbers of 16 bits.
template <int NUMBERS>
__device__ __forceinline__ void word_to_floats(unsigned word, float &low, float &high) {
    if (NUMBERS == FLOAT16) {
        halves_to_floats(word, low, high);
    } else {
        low = __uint_as_float(word << 16);
        high = __uint_as_float(word & 0xffff0000u);
    }
}

template <int NUMBERS>
__device__ __forceinline__ float read_one(const void *numbers, unsigned long long index) {
    if (NUMBERS == FLOAT32) return __ldg(static_cast<const float *>(numbers) + index);
    const unsigned bits = __ldg(static_cast<const unsigned short *>(numbers) + index);
    float number, none;
    word_to_floats<NUMBERS>(bits, number, none);
    return number;
}

template <int NUMBERS>
__device__ __forceinline__ float2 read_pair(const void *numbers, unsigned long long index) {
    if (NUMBERS == FLOAT32) return __ldg(static_cast<const float2 *>(numbers) + index);
    float2 pair;
    word_to_floats<NUMBERS>(__ldg(static_cast<const unsigned *>(numbers) + index), pair.x, pair.y);
    return pair;
}

// The numbers of a row that belong to one lane.
struct Lane {
    float number[SHARE * VECTOR];
};

__device__ __forceinline__ bool in_row(int lane, int part) {
    return VECTORS % GROUP == 0 || lane + part * GROUP < VECTORS;
}

// `row` is where the lane's first vector is.
__device__ __forceinline__ Lane read_row(const uint4 *row, int lane) {
    Lane numbers;
#pragma unroll
    for (int part = 0; part < SHARE; ++part) {
        uint4 bits = {0u, 0u, 0u, 0u};
        if (in_row(lane, part)) bits = __ldg(row + part * GROUP);
        float *number = numbers.number + part * VECTOR;
        const unsigned words[4] = {bits.x, bits.y, bits.z, bits.w};
#pragma unroll
        for (int word = 0; word < 4; ++word) {
            if (VALUE == FLOAT32) {
                number[word] = __uint_as_float(words[word]);
            } else {
                word_to_floats<VALUE>(words[word], number[2 * word], number[2 * word + 1]);
            }
        }
    }
    return numbers;
}

__device__ __forceinline__ void write_row(uint4 *row, int lane, const Lane &numbers) {
#pragma unroll
    for (int part = 0; part < SHARE; ++part) {
        const float *number = numbers.number + part * VECTOR;
        unsigned words[4];
#pragma unroll
        for (int word = 0; word < 4; ++word) {
            if (VALUE == FLOAT32) {
                words[word] = __float_as_uint(number[word]);
            } else if (VALUE == FLOAT16) {
                words[word] = floats_to_halves(number[2 * word], number[2 * word + 1]);
            } else {
                words[word] =
                    to_bfloat16(number[2 * word]) | to_bfloat16(number[2 * word + 1]) << 16;
            }
        }
        if (in_row(lane, part)) {
            row[part * GROUP] = uint4{words[0], words[1], words[2], words[3]};
        }
    }
}

// -------------------------------------------------------------------------------------- groups

// Of one thread: its group, and the query and head that the group computes.
struct Place {
    int group, lane;
    bool active;                     // else the query is computed twice and must not be written
    int query;
    long long first_query;           // of the block
    unsigned long long bag;          // index of image, query and head
    unsigned long long first_value;  // vector of the image's first row of this head
};

__device__ __forceinline__ Place find_place(const Parameters &p) {
    Place place;
    place.group = threadIdx.x / GROUP;
    place.lane = threadIdx.x % GROUP;
    place.first_query = static_cast<long long>(blockIdx.x % p.tiles) * GROUPS;
    const long long query = place.first_query + place.group;
    const unsigned long long slice = blockIdx.x / p.tiles;
    const unsigned long long head = slice % HEADS;
    const unsigned long long image = slice / HEADS;
    place.active = query < p.queries;
    // Every lane of a warp takes part in what the warp does together.
    place.query = place.active ? static_cast<int>(query) : p.queries - 1;
    place.bag = (image * p.queries + place.query) * HEADS + head;
    place.first_value = (image * p.rows * HEADS + head) * VECTORS;
    return place;
}

__device__ __forceinline__ float group_sum(float number) {
#pragma unroll
    for (int step = GROUP / 2; step > 0; step /= 2) {
        number += __shfl_xor_sync(ALL_LANES, number, step);
    }
    return number;
}

__device__ __forceinline__ float group_max(float number) {
#pragma unroll
    for (int step = GROUP / 2; step > 0; step /= 2) {
        number = fmaxf(number, __shfl_xor_sync(ALL_LANES, number, step));
    }
    return number;
}

// ------------------------------------------------------------------------------------- samples

struct Sample {
    float x, y;  // pixels of its level, 0 at the centre of the first one
    float attention;
};

// Samples as `ms_deform_attn` gets them.
struct Located {
    const Parameters &p;
    unsigned long long first;

    __device__ __forceinline__ Located(const Parameters &parameters, const Place &place)
        : p(parameters), first(place.bag * SAMPLES) {}

    __device__ __forceinline__ Sample get(int sample, int level) const {
        const float2 location = read_pair<FLOAT32>(p.samples, first + sample);
        return {
            location.x * p.width[level] - 0.5f,
            location.y * p.height[level] - 0.5f,
            read_one<FLOAT32>(p.weights, first + sample),
        };
    }
};

// Samples as the linear layers leave them: softmax and locations are still to come.
struct FromLayers {
    const Parameters &p;
    unsigned long long first;
    float2 reference;
    float largest, scale;

    __device__ __forceinline__ FromLayers(const Parameters &parameters, const Place &place)
        : p(parameters), first(place.bag * SAMPLES) {
        reference = __ldg(reinterpret_cast<const float2 *>(p.reference) + place.query);
        largest = -__int_as_float(0x7f800000);
        for (int sample = place.lane; sample < SAMPLES; sample += GROUP) {
            largest = fmaxf(largest, read_one<PROJECTED>(p.weights, first + sample));
        }
        largest = group_max(largest);
        float sum = 0.0f;
        // Read again instead of kept: any number of samples fits into the registers.
        for (int sample = place.lane; sample < SAMPLES; sample += GROUP) {
            sum += expf(read_one<PROJECTED>(p.weights, first + sample) - largest);
        }
        scale = 1.0f / group_sum(sum);
    }

    __device__ __forceinline__ Sample get(int sample, int level) const {
        const float2 offset = read_pair<PROJECTED>(p.samples, first + sample);
        const float logit = read_one<PROJECTED>(p.weights, first + sample);
        // Offsets are in pixels already.
        return {
            reference.x * p.width[level] + (offset.x - 0.5f),
            reference.y * p.height[level] + (offset.y - 0.5f),
            expf(logit - largest) * scale,
        };
    }
};

// The two pixels around a sample along one axis, and their linear weights: 0 for a pixel outside,
// NaN for both where the sample is NaN.
struct Axis {
    int lower, upper;  // in the level, whatever the sample
    float lower_weight, upper_weight;
    bool lower_inside, upper_inside;
};

__device__ __forceinline__ Axis bracket(float pixel, int size) {
    const float end = static_cast<float>(size), last = static_cast<float>(size - 1);
    const bool before = pixel < -1.0f;
    // Beyond one pixel outside, a sample is zero however far it is. Comparisons keep NaN.
    pixel = before ? -1.0f : (pixel > end ? end : pixel);
    const float lower = floorf(pixel), fraction = pixel - lower;
    Axis axis;
    axis.lower_inside = lower >= 0.0f && lower < end;
    axis.upper_inside = lower < last && !before;
    // Products, because NaN times 0 is NaN.
    axis.lower_weight = (1.0f - fraction) * (axis.lower_inside ? 1.0f : 0.0f);
    axis.upper_weight = fraction * (axis.upper_inside ? 1.0f : 0.0f);
    // fminf and fmaxf take NaN to a pixel.
    axis.lower = static_cast<int>(fminf(fmaxf(lower, 0.0f), last));
    axis.upper = static_cast<int>(fminf(lower + 1.0f, last));
    return axis;
}

// Rows of the four corners, as vectors from the image's first row of this head.
__device__ __forceinline__ uint4
corner_rows(const Parameters &p, int level, const Axis &x, const Axis &y) {
    constexpr unsigned pixel = HEADS * VECTORS;
    const unsigned width = p.width[level], first = p.first[level];
    const unsigned above = first + y.lower * width, below = first + y.upper * width;
    return uint4{
        (above + x.lower) * pixel,
        (above + x.upper) * pixel,
        (below + x.lower) * pixel,
        (below + x.upper) * pixel,
    };
}

// ------------------------------------------------------------------------------------- kernels

template <class Samples>
__device__ __forceinline__ void attend(const Parameters &p) {
    // One place more than a group fills: neighbouring groups read from other banks.
    __shared__ uint4 corners[GROUPS][GROUP + 1];
    __shared__ float4 weights[GROUPS][GROUP + 1];
    const Place place = find_place(p);
    const uint4 *const rows = static_cast<const uint4 *>(p.value) + place.first_value + place.lane;
    const Samples samples(p, place);
    Lane sum = {};
    for (int first = 0; first < SAMPLES; first += GROUP) {
        const int own = first + place.lane;
        if (SAMPLES % GROUP == 0 || own < SAMPLES) {
            const int level = own / POINTS;
            const Sample sample = samples.get(own, level);
            const Axis x = bracket(sample.x, p.width[level]);
            const Axis y = bracket(sample.y, p.height[level]);
            corners[place.group][place.lane] = corner_rows(p, level, x, y);
            const float above = sample.attention * y.lower_weight;
            const float below = sample.attention * y.upper_weight;
            weights[place.group][place.lane] = float4{
                above * x.lower_weight,
                above * x.upper_weight,
                below * x.lower_weight,
                below * x.upper_weight,
            };
        }
        __syncwarp();
#pragma unroll TOGETHER
        for (int turn = 0; turn < GROUP; ++turn) {
            if (SAMPLES % GROUP != 0 && first + turn >= SAMPLES) break;
            const uint4 row = corners[place.group][turn];
            const float4 weight = weights[place.group][turn];
            const Lane a = read_row(rows + row.x, place.lane);
            const Lane b = read_row(rows + row.y, place.lane);
            const Lane c = read_row(rows + row.z, place.lane);
            const Lane d = read_row(rows + row.w, place.lane);
#pragma unroll
            for (int i = 0; i < SHARE * VECTOR; ++i) {
                sum.number[i] += weight.x * a.number[i];
                sum.number[i] += weight.y * b.number[i];
                sum.number[i] += weight.z * c.number[i];
                sum.number[i] += weight.w * d.number[i];
            }
        }
        __syncwarp();
    }
    if (place.active) {
        write_row(static_cast<uint4 *>(p.output) + place.bag * VECTORS + place.lane, place.lane, sum);
    }
}

extern "C" __global__ void __launch_bounds__(BLOCK, RESIDENT / BLOCK)
    attend_located(const Parameters p) {
    attend<Located>(p);
}

extern "C" __global__ void __launch_bounds__(BLOCK, RESIDENT / BLOCK)
    attend_from_layers(const Parameters p) {
    attend<FromLayers>(p);
}

// ---------------------------------------------------------------------------------- gradients

// The backward pass waits for atomic additions. Neighbouring queries often sample the same pixels,
// so up to four of them, of one warp, sum their gradients of a pixel first, and add them once.
constexpr int NEIGHBOURS = 32 / GROUP < 4 ? 32 / GROUP : 4;
// With the neighbours' gradients in registers, a multiprocessor holds fewer threads.
constexpr int RESIDENT_BACKWARD = SHARE <= 2 ? 512 : 256;

// Sum over the lane's numbers of gradient times value.
__device__ __forceinline__ float
dot_row(const uint4 *row, int lane, const Lane &gradient) {
    const Lane value = read_row(row, lane);
    float sum = 0.0f;
#pragma unroll
    for (int i = 0; i < SHARE * VECTOR; ++i) sum += gradient.number[i] * value.number[i];
    return sum;
}

// Numbers of a row in float32 as a lane adds them: four that follow each other at a time, beside
// those of the lanes next to it, so that the lanes of a group fill whole sectors of memory.
constexpr int QUADS = SHARE * VECTOR / 4;

struct Quads {
    float number[QUADS * 4];
};

__device__ __forceinline__ bool in_quads(int lane, int part) {
    return DIM / 4 % GROUP == 0 || lane + part * GROUP < DIM / 4;
}

// The gradient that arrives at a query of the place's image and head.
__device__ __forceinline__ Quads
read_gradient(const Parameters &p, const Place &place, long long query) {
    const unsigned long long bag = place.bag + (query - place.query) * HEADS;
    const unsigned long long first = bag * (DIM / 4) + place.lane;
    Quads numbers = {};
#pragma unroll
    for (int part = 0; part < QUADS; ++part) {
        if (!in_quads(place.lane, part)) continue;
        float *number = numbers.number + part * 4;
        if (VALUE == FLOAT32) {
            const uint4 bits = __ldg(static_cast<const uint4 *>(p.gradient) + first + part * GROUP);
            number[0] = __uint_as_float(bits.x);
            number[1] = __uint_as_float(bits.y);
            number[2] = __uint_as_float(bits.z);
            number[3] = __uint_as_float(bits.w);
        } else {
            const uint2 bits = __ldg(static_cast<const uint2 *>(p.gradient) + first + part * GROUP);
            word_to_floats<VALUE>(bits.x, number[0], number[1]);
            word_to_floats<VALUE>(bits.y, number[2], number[3]);
        }
    }
    return numbers;
}

// `row` is where the lane's first number is.
__device__ __forceinline__ void add_row(float *row, int lane, const Quads &numbers) {
#pragma unroll
    for (int part = 0; part < QUADS; ++part) {
        if (!in_quads(lane, part)) continue;
        const float *const number = numbers.number + part * 4;
        add_four(row + part * GROUP * 4, number[0], number[1], number[2], number[3]);
    }
}

extern "C" __global__ void __launch_bounds__(BLOCK, RESIDENT_BACKWARD / BLOCK)
    attend_backward(const Parameters p) {
    __shared__ uint4 corners[GROUPS][GROUP + 1];
    __shared__ float4 linear[GROUPS][GROUP + 1];
    // What each corner weighs in the query's sum: 0 for a pixel outside, or a query that is not.
    __shared__ float4 parts[GROUPS][GROUP + 1];
    __shared__ unsigned insides[GROUPS][GROUP + 1];
    const Place place = find_place(p);
    const uint4 *const rows = static_cast<const uint4 *>(p.value) + place.first_value + place.lane;
    float *const sums = p.value_gradient + place.first_value * VECTOR + place.lane * 4;
    const int rank = place.group % NEIGHBOURS, first_neighbour = place.group - rank;
    const Lane gradient =
        read_row(static_cast<const uint4 *>(p.gradient) + place.bag * VECTORS + place.lane, place.lane);
    Quads gradients[NEIGHBOURS];
#pragma unroll
    for (int other = 0; other < NEIGHBOURS; ++other) {
        const long long query = place.first_query + first_neighbour + other;
        gradients[other] = read_gradient(p, place, query < p.queries ? query : p.queries - 1);
    }
    const Located samples(p, place);
    for (int first = 0; first < SAMPLES; first += GROUP) {
        const int own = first + place.lane;
        const bool owns = own < SAMPLES;
        const int level = own / POINTS;
        float own_attention = 0.0f;
        if (owns) {
            const Sample sample = samples.get(own, level);
            const Axis x = bracket(sample.x, p.width[level]);
            const Axis y = bracket(sample.y, p.height[level]);
            own_attention = sample.attention;
            const float above = place.active && y.lower_inside ? own_attention * y.lower_weight : 0.0f;
            const float below = place.active && y.upper_inside ? own_attention * y.upper_weight : 0.0f;
            corners[place.group][place.lane] = corner_rows(p, level, x, y);
            linear[place.group][place.lane] =
                float4{x.lower_weight, x.upper_weight, y.lower_weight, y.upper_weight};
            parts[place.group][place.lane] = float4{
                x.lower_inside ? above * x.lower_weight : 0.0f,
                x.upper_inside ? above * x.upper_weight : 0.0f,
                x.lower_inside ? below * x.lower_weight : 0.0f,
                x.upper_inside ? below * x.upper_weight : 0.0f,
            };
            insides[place.group][place.lane] = x.lower_inside | x.upper_inside << 1 |
                                               y.lower_inside << 2 | y.upper_inside << 3;
        }
        __syncwarp();
        // Derivatives by the own sample's x, y and attention.
        float by_x = 0.0f, by_y = 0.0f, by_attention = 0.0f;
#pragma unroll 1
        for (int turn = 0; turn < GROUP; ++turn) {
            if (SAMPLES % GROUP != 0 && first + turn >= SAMPLES) break;
            const uint4 row = corners[place.group][turn];
            const float4 weight = linear[place.group][turn];
            const unsigned bits = insides[place.group][turn];
            const float left = weight.x, right = weight.y, above = weight.z, below = weight.w;
            const float left_slope = bits & 1 ? -1.0f : 0.0f, right_slope = bits & 2 ? 1.0f : 0.0f;
            const float above_slope = bits & 4 ? -1.0f : 0.0f, below_slope = bits & 8 ? 1.0f : 0.0f;
            const float a = dot_row(rows + row.x, place.lane, gradient);
            const float b = dot_row(rows + row.y, place.lane, gradient);
            const float c = dot_row(rows + row.z, place.lane, gradient);
            const float d = dot_row(rows + row.w, place.lane, gradient);
            const float to_x = group_sum(above * (left_slope * a + right_slope * b) +
                                         below * (left_slope * c + right_slope * d));
            const float to_y = group_sum(left * (above_slope * a + below_slope * c) +
                                         right * (above_slope * b + below_slope * d));
            const float to_attention = group_sum(above * (left * a + right * b) +
                                                 below * (left * c + right * d));
            if (place.lane == turn) {
                by_x = to_x;
                by_y = to_y;
                by_attention = to_attention;
            }
            // Neighbours at the same pixels share out the four corners.
            unsigned same = 0, before = 0, count = 0;
#pragma unroll
            for (int other = 0; other < NEIGHBOURS; ++other) {
                const uint4 theirs = corners[first_neighbour + other][turn];
                const unsigned equal = theirs.x == row.x && theirs.w == row.w;
                same |= equal << other;
                before += other < rank ? equal : 0u;
                count += equal;
            }
            for (unsigned corner = before; corner < 4; corner += count) {
                Quads sum = {};
                bool any = false;
#pragma unroll
                for (int other = 0; other < NEIGHBOURS; ++other) {
                    if (!(same >> other & 1)) continue;
                    const float part =
                        reinterpret_cast<const float *>(&parts[first_neighbour + other][turn])[corner];
                    if (part == 0.0f) continue;
                    any = true;
#pragma unroll
                    for (int i = 0; i < QUADS * 4; ++i) {
                        sum.number[i] += part * gradients[other].number[i];
                    }
                }
                const unsigned at = reinterpret_cast<const unsigned *>(&corners[place.group][turn])[corner];
                if (any) {
                    add_row(sums + static_cast<unsigned long long>(at) * VECTOR, place.lane, sum);
                }
            }
        }
        if (owns && place.active) {
            const unsigned long long index = place.bag * SAMPLES + own;
            float2 *const by_location = reinterpret_cast<float2 *>(p.sample_gradient) + index;
            *by_location = float2{
                own_attention * by_x * p.width[level],
                own_attention * by_y * p.height[level],
            };
            p.weight_gradient[index] = by_attention;
        }
        __syncwarp();
    }
}
