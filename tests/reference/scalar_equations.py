"""The paper's equations one number at a time, written from the paper and not from the project's code.

Everything is a Python number or a float64 scalar tensor, and every sum is a loop, so that no broadcasting, masking or
padding can hide a mistake that the project's code makes too. What is differentiable stays so: given scalar tensors, the
losses and distributions can be differentiated. Exits are counted from 1 wherever one is returned or named; lists
hold exit n at index n - 1. Target positions are a sentence's real ones: a caller cuts the padding off.
"""

import math
from decimal import Decimal, localcontext

import torch

WEIGHTS = {
    "uniform": lambda n: 1.0,
    "linear": lambda n: float(n),
    "sqrt": lambda n: math.sqrt(n),
    "inverse-sqrt": lambda n: 1.0 / math.sqrt(n),
    "inverse": lambda n: 1.0 / n,
}


# One prediction


def dot(weights, values):
    """The inner product of two vectors."""
    total = 0.0
    for weight, value in zip(weights, values):
        total = total + weight * value
    return total


def log_softmax(logits):
    """log softmax of a list of scalar tensors, as a list."""
    largest = max(float(logit) for logit in logits)
    total = 0.0
    for logit in logits:
        total = total + torch.exp(logit - largest)
    return [logit - largest - torch.log(total) for logit in logits]


def log_likelihood(logits, target):
    """LL_t^n = log p(y_t | h_{t-1}^n)."""
    return log_softmax(logits)[target]


def correct(logits, target):
    """C_t^n: 1 where the target is the most probable word, else 0."""
    for word in range(len(logits)):
        if float(logits[word]) > float(logits[target]):
            return 0
    return 1


def smoothed_loss(logits, target, epsilon):
    """fairseq's label smoothing: epsilon is shared by the V - 1 other words, evenly.

    The target keeps 1 - epsilon, each other word gets epsilon / (V - 1).
    """
    log_probabilities = log_softmax(logits)
    loss = 0.0
    for word, log_probability in enumerate(log_probabilities):
        share = 1.0 - epsilon if word == target else epsilon / (len(logits) - 1)
        loss = loss - share * log_probability
    return loss


# Decoder losses; losses[t][n - 1] is -LL_t^n, smoothed or not


def aligned_loss(losses, weighting):
    """Eq. 4 for one sentence: -(1 / sum_n w_n) sum_n w_n LL^n."""
    total, weight_sum = 0.0, 0.0
    for n in range(1, len(losses[0]) + 1):
        weight = WEIGHTS[weighting](n)
        weight_sum += weight
        for position in losses:
            total = total + weight * position[n - 1]
    return total / weight_sum


def mixed_loss(losses_of_paths):
    """Eq. 5 for one sentence: the mean over paths of the sum over positions; [m][t] is -log p(y_t | h_{t-1}^{n_t})."""
    total = 0.0
    for path in losses_of_paths:
        for loss in path:
            total = total + loss
    return total / len(losses_of_paths)


# Oracles; values[t][n - 1] is LL_t^n or C_t^n


def first_argmax(scores):
    """The lowest exit with the highest score, counted from 1."""
    best = 1
    for n in range(2, len(scores) + 1):
        if scores[n - 1] > scores[best - 1]:
            best = n
    return best


def sequence_oracle(values, penalty):
    """Eqs. 9 and 10: argmax_n sum_t values_t^n - lambda n."""
    scores = []
    for n in range(1, len(values[0]) + 1):
        terms = []
        for position in values:
            terms.append(float(position[n - 1]))
        scores.append(math.fsum(terms + [-penalty * n]))
    return first_argmax(scores)


def kernel(t, other, width):
    """The RBF kernel k(t, t') = exp(-|t - t'|^2 / sigma); its limit for sigma -> 0 is "this token only"."""
    if width == 0:
        return 1.0 if t == other else 0.0
    return math.exp(-((t - other) ** 2) / width)


def token_oracle(values, penalty, width):
    """Eqs. 14 and 15, or 16 and 17: for each t, argmax_n sum_t' k(t, t') values_t'^n - lambda n."""
    exits = []
    for t in range(len(values)):
        scores = []
        for n in range(1, len(values[0]) + 1):
            terms = []
            for other in range(len(values)):
                terms.append(kernel(t, other, width) * float(values[other][n - 1]))
            # Rounded once, so that what is equal on paper is equal here, whatever the order of the terms.
            scores.append(math.fsum(terms + [-penalty * n]))
        exits.append(first_argmax(scores))
    return exits


# Exit distributions


def mean_state(states):
    """The mean of a sentence's encoder outputs, of which none is padding."""
    mean = []
    for component in range(len(states[0])):
        total = 0.0
        for state in states:
            total = total + state[component]
        mean.append(total / len(states))
    return mean


def multinomial_log_distribution(weight, bias, state):
    """Eqs. 8 and 11: log softmax(W h + b), one number for each exit."""
    return log_softmax([dot(row, state) + offset for row, offset in zip(weight, bias)])


def geometric_log_distribution(weights, biases, states):
    """Eqs. 12 and 13 as printed: q(n) = chi^n prod_{n' < n} (1 - chi^{n'}), and what remains at N.

    Args:
        weights, biases: w_h and b_h of blocks 1 to N - 1, the same ones each time where blocks share them.
        states: h^1 ... h^{N-1}.
    """
    probabilities, reaching = [], 1.0
    for weight, bias, state in zip(weights, biases, states):
        stopping = 1.0 / (1.0 + torch.exp(-(dot(weight, state) + bias)))
        probabilities.append(reaching * stopping)
        reaching = reaching * (1.0 - stopping)
    probabilities.append(torch.as_tensor(reaching, dtype=torch.float64))
    return [torch.log(probability) for probability in probabilities]


def exact_geometric_log_distribution(logits):
    """Eq. 13 from the logits of chi^1 ... chi^{N-1}, with enough digits that nothing rounds to 0 or 1; floats."""
    with localcontext() as context:
        context.prec = 50
        probabilities, reaching = [], Decimal(1)
        for logit in logits:
            odds = (-Decimal(float(logit))).exp()  # (1 - chi) / chi
            probabilities.append(reaching / (1 + odds))
            reaching = reaching * odds / (1 + odds)
        probabilities.append(reaching)
        return [float(probability.ln()) for probability in probabilities]


def multinomial_exit(log_distribution):
    """Inference with Eqs. 8 and 11: the most probable exit."""
    return first_argmax([float(value) for value in log_distribution])


def geometric_exit(logits, threshold=0.5):
    """Inference with Eq. 12: the first n with chi^n > tau_n, else N; from the logits of chi^1 ... chi^{N-1}."""
    for n, logit in enumerate(logits, start=1):
        if 1.0 / (1.0 + math.exp(-float(logit))) > threshold:
            return n
    return len(logits) + 1


def exit_loss(oracle_exits, log_distributions):
    """Eq. 6: the sum over positions (or one term for a sentence) of H(q*, q), with q* a one-hot vector."""
    total = 0.0
    for oracle_exit, log_distribution in zip(oracle_exits, log_distributions):
        for n, log_probability in enumerate(log_distribution, start=1):
            if n == oracle_exit:
                total = total - log_probability
    return total


# Algorithm 1


def scaling_factors(gamma, exits):
    """gamma_1 ... gamma_N: gamma (N - n), and 1 for the last exit."""
    factors = []
    for n in range(1, exits):
        factors.append(gamma * (exits - n))
    return factors + [1.0]


def gradient_factor(block, exit_number, factors):
    """By what algorithm 1 multiplies the gradient that exit *exit_number* sends into block *block* <= exit.

    The prediction of exit n is scaled by gamma_n, and each state passed up from block k to block k + 1 by
    1 / gamma_{k+1}; the gradient meets both on its way down to *block*.
    """
    factor = factors[exit_number - 1]
    for passed in range(block, exit_number):
        factor = factor * (1.0 / factors[passed])
    return factor
