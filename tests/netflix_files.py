"""Small files in the form of the published ones, made by hand: two countries, five weeks, a dozen works each, a report."""

import datetime as dt
import gzip

import numpy as np

WEEKS = [dt.date(2022, 7, 3) + dt.timedelta(weeks=i) for i in range(5)]
LAST = WEEKS[-1]
EXPONENT, SHIFT = 0.8, 1.5
HOURS = 1e7
"""Hours of rank 1 under the law, before it is normalised."""


def law(rank):
    return (np.asarray(rank, float) + SHIFT) ** -EXPONENT


def film(country, i):
    return f"Film {i} of {country}"


def lists_text(changes=()):
    """Films 1 to 10 keep their rank; of series, season i of week w is at rank i - w, so that each week one drops out above and one comes in below."""
    rows = [
        "country_name\tcountry_iso2\tweek\tcategory\tweekly_rank\tshow_title\tseason_title\tcumulative_weeks_in_top_10"
    ]
    for name, country in (("Germany", "DE"), ("Namibia", "NA")):
        for w, week in enumerate(WEEKS):
            for rank in range(1, 11):
                rows.append(f"{name}\t{country}\t{week}\tFilms\t{rank}\t{film(country, rank)}\tN/A\t{w + 1}")
                show = f"Saga of {country}"
                rows.append(f"{name}\t{country}\t{week}\tTV\t{rank}\t{show}\t{show}: Season {rank + w}\t1")
    text = "\n".join(rows) + "\n"
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    return text


def worldwide_text():
    """Hours of 20 ranks by the law, odd ranks in English; films have half the hours of series."""
    rows = [
        "week\tcategory\tweekly_rank\tshow_title\tseason_title\tweekly_hours_viewed\truntime\tweekly_views\tcumulative_weeks_in_top_10"
    ]
    for week in WEEKS:
        for kind, scale in (("Films", 1.0), ("TV", 2.0)):
            for rank in range(1, 21):
                language = "English" if rank % 2 else "Non-English"
                hours = HOURS * scale * law(rank)
                rows.append(f"{week}\t{kind} ({language})\t{(rank + 1) // 2}\t{kind} {rank}\tN/A\t{hours:.3f}\t\t\t1")
    return "\n".join(rows) + "\n"


REPORT_HOURS = 184 / 7 * HOURS * 3 * law(np.arange(1, 11)).sum() / 0.25
"""Of a half-year of 184 days, such that the two lists of ten hold a quarter of a week's hours."""


def report_text():
    """Half the hours are those of 400 films of the tail, falling as 1/i; the rest is one unlisted giant that comes out after the weeks."""
    rows = ["Report,Sheet,Title,Available Globally?,Release Date,Hours Viewed,Runtime,Views,runtime_minutes"]
    tail = 1 / np.arange(1, 401)
    for i, hours in enumerate(tail / tail.sum() * REPORT_HOURS / 2, 1):
        rows.append(f'2022Jul-Dec,Film,"Tail {i}, the film // Schwanz {i}",Yes,2015-01-01,{hours:.3f},1:40,1,100')
    rows.append(f"2022Jul-Dec,Film,Not Yet,Yes,2022-11-01,{REPORT_HOURS / 2:.3f},1:40,1,100")
    rows.append("2022Jul-Dec,TV,Saga of DE: Season 14,Yes,2022-07-29,0,6:00,1,360")
    rows.append("2022Jul-Dec,TV,Saga of NA: Season 14,Yes,,0,6:00,1,360")
    return "\n".join(rows) + "\n"


CITIES = """name,latitude,longitude,countrycode,population,timezone
Berlin,52.5,13.4,DE,3000000,Europe/Berlin
Potsdam,52.4,13.06,DE,1000000,Europe/Berlin
Muenchen,48.1,11.6,DE,1000000,Europe/Berlin
Salzburg,47.8,13.05,AT,150000,Europe/Vienna
Windhoek,-22.6,17.1,NA,400000,Africa/Windhoek
Luanda,-8.8,13.2,AO,2000000,Africa/Luanda
"""
COUNTRIES = "iso,iso3,population\nDE,DEU,80000000\nAT,AUT,9000000\nNA,NAM,2500000\nAO,AGO,30000000\n"
INTERNET = "Entity,Code,Year,Individuals\nGermany,DEU,2020,80\nGermany,DEU,2022,90\nAustria,AUT,2022,90\nNamibia,NAM,2022,60\nWorld,,2022,50\nAngola,AGO,2019,40\n"

NETWORK = {
    "nodes": "node,lat,lon\nber,52.5,13.4\nmuc,48.1,11.6\nwdh,-22.5,17\nlad,-9,13\n",
    "links": "link,source,target,capacity_gbps,length_km,cost_per_gb\na,ber,muc,100,500,1\nb,muc,wdh,100,7900,5\nc,wdh,lad,100,1500,2\n",
    "regions": "region,node,timezone,subscribers\nberlin,ber,UTC,1\nmunich,muc,UTC,1\nwindhoek,wdh,UTC,1\nluanda,lad,UTC,1\n",
    "sites": "site,node,kind\ncentre,muc,origin\nedge,wdh,ix\n",
    "appliances": "appliance,site,model,storage_gb,throughput_gbps,fill_gbps,fill_start,fill_hours\na,edge,m,1000,10,1,02:00,12\n",
}


def put_files(folder, **texts):
    """Write the files into sub-folders, as fetched: packed or not. Keywords replace a text, or leave a file out where None."""
    made = {
        "top10/all-weeks-countries.tsv": lists_text(),
        "top10/all-weeks-global.tsv.gz": worldwide_text(),
        "what-we-watched/netflix_engagement_2022H2.csv.gz": report_text(),
        "geo/geonames_cities15000.csv": CITIES,
        "geo/geonames_countries.csv": COUNTRIES,
        "geo/owid_share-of-individuals-using-the-internet.csv": INTERNET,
    }
    short = dict(zip(("lists", "worldwide", "report", "cities", "countries", "internet"), made, strict=True))
    for name, text in texts.items():
        made[short[name]] = text
    for name, text in made.items():
        if text is None:
            continue
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        data = text if isinstance(text, bytes) else text.encode()
        path.write_bytes(gzip.compress(data) if name.endswith(".gz") and not isinstance(text, bytes) else data)
    return folder


def put_network(folder):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in NETWORK.items():
        (folder / f"{name}.csv").write_text(text, "utf-8")
    return folder
