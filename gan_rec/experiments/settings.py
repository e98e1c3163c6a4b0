"""What can be set, with defaults that work. The same names serve Python, the command line and config.json."""

import dataclasses
from dataclasses import dataclass

from gan_rec.errors import UserError
from gan_rec.experiments import checks, choices, rules

DEFAULT_KS = (5, 10, 20)


@dataclass(frozen=True)
class DataOptions:
    """Which interactions, and how they are split."""

    dataset: str = "ml-100k"
    """A named data set (see the command datasets), a file, a directory with train and test files, or one of other
    Parquet files, which is streamed. With --task labels: a CSV file with a column of texts and one of labels, or its
    folder."""
    positive_from: float | None = None
    """Ratings from this value on are positive (default: every row)."""
    user_column: str | None = None
    """Name of the column of users, where the file has a header."""
    item_column: str | None = None
    """Name of the column of items."""
    rating_column: str | None = None
    """Name of the column of ratings."""
    time_column: str | None = None
    """Name of the column of timestamps."""
    min_user: int = 1
    """Users with fewer interactions are left out."""
    min_item: int = 1
    """Items with fewer interactions are left out."""
    buffer: int = 64
    """MiB of interactions that are held at a time of a directory that is streamed."""
    item_text: str | None = None
    """A CSV or TSV file with a header and a row for each item: its id, and columns that make its text. Read by the
    recommenders two-tower, hybrid and rating-predictor (default: the texts that the named data set has). ml-1m-text:
    plots of films, by their titles."""
    item_features: tuple[str, ...] = ()
    """Files of items' features, one for each modality: .npy, a row for each item in the order of their ids, or CSV or
    TSV with a header, an id and numbers. Read by the recommender multimodal (default: what the named data set has)."""
    links: str | None = None
    """A file of links between users, user user. Read by the recommender social-lightgcn (default: the links that the
    named data set has)."""
    people: bool = False
    """Items are users, as in data of who follows whom."""
    distinct: bool = False
    """Of data of several domains: without the items that seem to be the same product in two of them."""
    target: str | None = None
    """Of data of several domains: the one that is ranked (default: all items together)."""
    alone: bool = False
    """Train on the target domain alone."""
    newcomers: float = 0.0
    """Part of the users who have no interaction of the target domain in train; only they are then ranked for."""
    split: str | None = None
    """random (per user), leave-one-out, leave-five-out (of users with 8 interactions or more), temporal, cold-items
    (items that nobody has in train; only they are ranked), links (with --people: both directions of a link in one part)
    or fixed (default: what the data set brings, else random)."""
    test_fraction: float | None = None
    """Part of a user's interactions (temporal: of all; cold-items: of the items) that is the test part (default: 0.2,
    of cold-items 0.1)."""
    valid_fraction: float | None = None
    """Part of what remains that is the validation part (default: the same)."""
    split_seed: int | None = None
    """Seed of a random split, the same for all training seeds (default: 0, with --task labels 42)."""
    folds: int = 0
    """Folds of a cross-validation, each of which is the test part once: of every user's interactions, or with --task
    labels of the texts, stratified; 0: one test part."""


@dataclass(frozen=True)
class TextOptions:
    """With --task labels: which columns, and what reads the texts."""

    text_column: tuple[str, ...] = ()
    """Columns of text, which are joined: --text-column Title "Review Text" (default: item_description, else "Review
    Text")."""
    label_column: str | None = None
    """Column of labels, 0/1, true/false or yes/no (default: is_recommended, else "Recommended IND")."""
    feature_column: tuple[str, ...] = ()
    """Further columns, numbers or categories."""
    word_scores: bool = False
    """Let the classifier begin with the log-odds by TF-IDF and logistic regression (of texts that these have not
    learned from) and learn what they do not know."""
    labelled: float = 1.0
    """Part of the training labels that is seen; the texts of the others still serve adversary vat."""


@dataclass(frozen=True)
class Settings:
    """One game between a recommender and an adversary. None means: the default of whose option it is."""

    game: str = "embedding"
    """Which losses the players minimise: embedding, apr, irgan, cfgan, hard-negative, advinfonce, domain,
    text or rating."""
    recommender: str | None = None
    """The player that ranks: autoencoder, mix (two autoencoders, over users' and over items' histories, and the closed
    form EDLAE), mf, mult-vae, lightgcn, social-lightgcn (over links between users too), sasrec or gru (both over items
    in the order of time), two-tower (over texts of items), hybrid (over texts and ids) or multimodal (over ids and
    features of items); in game text the one that tells labels: text-classifier, or tuned-text-classifier, which trains
    layers of the language model too; in game rating the one that tells likes: rating-predictor. Default: autoencoder,
    or the first of the game; of the command train mix, the most accurate, where the data and all that is given allow
    it."""
    adversary: str | None = None
    """The other player. embedding: generator, gradient-generator, attention, hull, profile, noise, clipped-noise,
    fgsm, fgm, pgd, vat, free, kl-dro; apr: these without attention, profile and kl-dro, and accumulated; irgan:
    pair-critic; cfgan: vector-critic; hard-negative: own-scores, hardness; advinfonce: hardness; domain: domain-
    critic; text: fgm, vat, pgd, free, fgsm, noise, clipped-noise, generator; rating: the same, generator first. In
    embedding, apr, text and rating also a class of your own as my_module:MyGenerator (in Python the class itself or
    an instance), whose code is then run. Default: the first that is named here, for apr fgm."""
    loss: str | None = None
    """The recommender's loss: softmax, bpr, sampled-softmax or bce (embedding, apr), bpr or bce (hard-negative),
    bce (text, rating)."""
    dim: int | None = None
    """Embedding size D."""
    head: tuple[int, ...] | None = None
    """Recommenders text-classifier, tuned-text-classifier: units of the hidden layers."""
    trainable: int | None = None
    """Recommender tuned-text-classifier: the last layers of the language model that are trained too; one more than it
    has: word embeddings too, and these are then what the adversary moves."""
    longest: int | None = None
    """Recommender tuned-text-classifier: the most tokens of a text."""
    precision: str | None = None
    """Recommender tuned-text-classifier: float32, or bfloat16 in the language model's layers."""
    encoder: str | None = None
    """Recommenders that read texts: the language model, minilm, smollm2 (see the command language), or a path."""
    pooling: str | None = None
    """Recommenders of labels: mean (over token states) or last (token); default: as the model's authors did."""
    components: int | None = None
    """Recommenders two-tower, hybrid, rating-predictor: principal components of the text vectors that they get."""
    prior: float | None = None
    """Recommender rating-predictor: how narrow the Gaussian priors of its parameters are."""
    units: int | None = None
    """Recommenders two-tower, hybrid: units of the item tower's hidden layer."""
    reads: str | None = None
    """Recommenders two-tower, hybrid: what the user tower knows of items in a history, ids or text."""
    dropout: float | None = None
    """Recommenders autoencoder, mix, mult-vae, two-tower, hybrid: chance that training drops an entry of the history.
    rating-predictor: chance that training forgets who the user is. sasrec, gru: chance that training drops an entry of
    an embedding or of a layer's output."""
    item_dim: int | None = None
    """Recommender mix: dim of the network over items' histories (default: dim, if that is given)."""
    item_epochs: int | None = None
    """Recommender mix: its epochs (default: epochs, if that is given)."""
    item_learning_rate: float | None = None
    """Recommender mix: its learning rate (default: learning_rate, if that is given)."""
    item_weight_decay: float | None = None
    """Recommender mix: its weight decay (default: weight_decay, if that is given)."""
    edlae_l2: float | None = None
    """Recommender mix: ridge of EDLAE."""
    edlae_dropout: float | None = None
    """Recommender mix: dropout of EDLAE, which is a ridge that grows with an item's popularity."""
    bias: bool | None = None
    """Recommenders mf, mult-vae: whether items have a bias."""
    latent: int | None = None
    """Recommender mult-vae: size of the latent vector z."""
    kl_weight: float | None = None
    """Recommender mult-vae: weight of the KL divergence of z's posterior from its prior (beta; the data loss is a mean
    over the items to be found)."""
    layers: int | None = None
    """Recommenders lightgcn, social-lightgcn (layers of propagation; 0 is mf), sasrec (layers of attention)."""
    length: int | None = None
    """Recommenders sasrec, gru: how many of a user's last items are read."""
    heads: int | None = None
    """Recommender sasrec: heads of each layer of attention; their number divides dim."""
    attacked: str | None = None
    """Recommenders sasrec, gru: which rows of sequences an adversary moves beside those of items: states (what the
    recommender makes of them) or inputs (the embeddings of their items)."""
    spread: str | None = None
    """Recommender social-lightgcn: apart (links have a propagation of their own) or joint (one graph of both)."""
    link_weight: float | None = None
    """Recommender social-lightgcn: weight of a link, where an interaction is 1."""
    link_penalty: float | None = None
    """Recommender social-lightgcn: weight of the distance between friends in the loss."""
    own_dim: int | None = None
    """Recommender cross-domain: embedding size of the part that each domain has of its own."""
    fusion: str | None = None
    """Recommender multimodal: late (each modality has a map and a score of its own) or early (one for all)."""
    modality_dim: int | None = None
    """Recommender multimodal: size of what features are mapped to."""
    hide: float | None = None
    """Recommenders over histories with softmax: chance that an item of the history is hidden and must be found."""
    negatives: int | None = None
    """Sampled items per pair, in losses over pairs; of recommenders sasrec and gru sampled once for each batch."""
    sampling: str | None = None
    """How these are drawn: uniform, or popularity (as often as they are had)."""
    alpha: float | None = None
    """Weight of the data loss; 1 - alpha is that of the adversarial loss. 1 is the twin."""
    balance: str = "fixed"
    """Who sets alpha: fixed, or after every epoch a rule: gradient (both losses pull equally hard) or validation
    (the held-out loss decides)."""
    epsilon: float | None = None
    """Games embedding, apr, text, rating: radius of the adversary's ball, relative to the length of the row that it
    moves; of adversary kl-dro how far its weights of users may be from the given ones, as a KL divergence."""
    norm: str | None = None
    """Games embedding, apr, text, rating: l2 or linf, the shape of the ball."""
    under_attack: str | None = None
    """Games embedding, apr: what the adversary moves, rows (of users and items) or features (of items, before
    recommender multimodal, two-tower or hybrid makes rows of them)."""
    radii: str | None = None
    """Games embedding, apr: equal for all users, or by-loss (larger for users whom the model fits closely)."""
    feeding: str | None = None
    """Games embedding, apr: joint (both losses in every step) or alternate (original and adversarial batches by
    turns)."""
    form: str | None = None
    """Game embedding with loss bce: alpha, or the article's article-alpha, article-beta (both as printed), or beta."""
    beta: float | None = None
    """Game embedding with form article-beta or beta: weight of the adversarial term."""
    noise: int | None = None
    """Adversaries generator, gradient-generator, attention, hull, profile: size of the noise z."""
    hidden: int | None = None
    """Adversaries generator, gradient-generator, attention, hull, profile, hardness, vector-critic, domain-critic:
    units of the hidden layers."""
    anchors: int | None = None
    """Adversaries hull, profile: catalogue items that each call mixes."""
    profile_length: int | None = None
    """Adversary profile: items of a fake history."""
    attack_steps: int | None = None
    """Adversaries pgd (gradient steps), vat (power iterations)."""
    xi: float | None = None
    """Adversary vat: length of the probing step, relative to the row."""
    virtual: bool | None = None
    """Adversary vat: train against the divergence (true) or against the labels' loss on the moved rows."""
    critic_dim: int | None = None
    """Adversary pair-critic: size of its factors."""
    critic_loss: str | None = None
    """Games irgan, cfgan: minimax, non-saturating, hinge, or (cfgan) wasserstein with a gradient penalty."""
    ranker: str | None = None
    """Game irgan: who the recommender is, generator or discriminator."""
    samples: int | None = None
    """Game irgan: items drawn from the policy for each user."""
    positive_share: float | None = None
    """Game irgan: part of the policy's samples that comes from observed items."""
    temperature: float | None = None
    """Games irgan (of the policy), hard-negative (of the weights), advinfonce (of the scores); recommender
    cross-domain (of its cosines)."""
    entropy: float | None = None
    """Games hard-negative, advinfonce: the adversary's bonus for the entropy of its weights."""
    zero_ratio: float | None = None
    """Game cfgan: part of the unobserved items that is drawn to 0 (zero-reconstruction)."""
    zero_weight: float | None = None
    """Game cfgan: weight of zero-reconstruction."""
    mask_ratio: float | None = None
    """Game cfgan: part of the unobserved items that the critic sees (partial masking)."""
    penalty: float | None = None
    """Game cfgan with wasserstein: weight of the gradient penalty."""
    side: str | None = None
    """Game cfgan: user (vectors of users) or item (vectors of items). Game embedding with loss softmax: user (items
    are found for users) or item (users for items)."""
    adversary_learning_rate: float | None = None
    """Learning rate of the adversary (Adam)."""
    adversary_steps: int | None = None
    """Steps of the adversary on each batch, before those of the recommender."""
    recommender_steps: int | None = None
    """Steps of the recommender on each batch."""
    moves: str = "alternating"
    """alternating (the adversary first) or simultaneous (both at once, in embedding and apr from one backward pass)."""
    table_updates: str = "auto"
    """Which rows of embedding tables a step moves: dense (all, by AdamW), lazy-adam or row-adagrad (those of the batch
    alone: for mf with a loss over pairs). auto: lazy-adam where the tables have more than 100,000 rows, else dense."""
    softmax_scores: str = "auto"
    """Game embedding with loss softmax: dense (a batch's scores of all items are in memory at once) or chunks (of some
    items at a time, computed twice; not with adversaries that read histories). auto: chunks where the scores of all
    seeds would take more than 256 MiB."""
    batch_size: int | None = None
    """Users (softmax, irgan, cfgan) or pairs (other losses) in a batch."""
    learning_rate: float | None = None
    """Learning rate of the recommender (AdamW)."""
    weight_decay: float | None = None
    """Decoupled weight decay of the recommender."""
    clip: float | None = None
    """Largest norm of the recommender's gradient; 0 for no bound."""
    ramp: int | None = None
    """Steps over which the recommender's learning rate rises from 0."""
    accumulate: int | None = None
    """Batches whose gradients make one step of the recommender."""
    anneal: bool | None = None
    """Whether the recommender's learning rate falls linearly, to 0 at the end of the last of epochs (default: only with
    recommender tuned-text-classifier)."""
    average: float | None = None
    """Decay per epoch of the moving average of the recommender's weights; 0 for none."""
    epochs: int | None = None
    """The most epochs; validation chooses among them."""
    warm_up: int | None = None
    """Epochs in which the recommender trains alone, before the adversary joins. A run that ranks then also measures
    this start. Default: 0, in game irgan with mf 100."""
    warm_up_learning_rate: float | None = None
    """Learning rate of the recommender in these epochs (default: the same as later)."""
    patience: int | None = None
    """Epochs without a better validation metric after which a seed ends."""
    evaluate_every: int | None = None
    """Epochs between two evaluations on validation."""
    select_on: str | None = None
    """Validation metric that chooses the epoch (default NDCG@20, with --task labels AUC)."""
    refit: bool = True
    """Train anew on train + validation for the chosen number of epochs."""
    seeds: int = 3
    """How many seeds are trained, side by side."""
    seed: int = 0
    """The first seed; the others follow it."""
    checkpoint_every: int = 20
    """Epochs between two checkpoints."""

    def resolved(self) -> "Settings":
        """Settings with every None that means something replaced by its default, checked.

        Raises:
            UserError: a value that is not allowed; the message gives it and what is.
        """
        checks.check_types(self, leave=("adversary",))
        recommender = choices.default_recommender(self.game) if self.recommender is None else self.recommender
        given = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)} | {"recommender": recommender}
        missing = choices.defaults(self.game, recommender, self.adversary, given) | {"recommender": recommender}
        settings = dataclasses.replace(self, **missing)
        settings._check()
        # Whole numbers where a real one is meant would be traced as integers and compile the epoch once more.
        reals = {name: float(value) for name in checks.REALS if (value := getattr(settings, name)) is not None}
        return dataclasses.replace(settings, **reals)

    def _check(self) -> None:
        checks.check_values(self)
        if not all(type(units) is int and units > 0 for units in self.head or ()):
            raise UserError(f"head must be whole numbers above 0, got {list(self.head)}")
        rules.check_together(self)

    def twin(self) -> "Settings":
        """The same without the adversary."""
        # The article's L_data alone has no negatives: its twin is the cross-entropy that it was taken from.
        form = "alpha" if self.form == "article-alpha" else self.form
        return dataclasses.replace(self, alpha=1.0, balance="fixed", form=form)

    @property
    def seed_list(self) -> tuple[int, ...]:
        """The S seeds."""
        return tuple(range(self.seed, self.seed + self.seeds))
