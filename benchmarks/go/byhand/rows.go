package byhand

import (
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	pb "swr-gateway/benchmarks/gateway/swr/v1"
)

// Row is a repository as the upstream writes it.
type Row struct {
	Name         string    `json:"name"`
	Category     string    `json:"category"`
	Description  string    `json:"description"`
	Size         int64     `json:"size"`
	IsPublic     bool      `json:"is_public"`
	NumImages    int64     `json:"num_images"`
	NumDownload  int64     `json:"num_download"`
	CreatedAt    time.Time `json:"created_at"`
	UpdatedAt    time.Time `json:"updated_at"`
	URL          string    `json:"url"`
	Path         string    `json:"path"`
	InternalPath string    `json:"internal_path"`
	DomainName   string    `json:"domain_name"`
	Namespace    string    `json:"namespace"`
	Tags         []string  `json:"tags"`
	Status       bool      `json:"status"`
	Logo         string    `json:"logo"`
}

// Repos makes messages of rows.
func Repos(rows []Row) []*pb.Repo {
	made := make([]*pb.Repo, len(rows))
	for number := range rows {
		r := &rows[number]
		made[number] = &pb.Repo{
			Name: r.Name, Category: r.Category, Description: r.Description, Size: r.Size, IsPublic: r.IsPublic,
			NumImages: r.NumImages, NumDownload: r.NumDownload, CreatedAt: timestamppb.New(r.CreatedAt),
			UpdatedAt: timestamppb.New(r.UpdatedAt), Url: r.URL, Path: r.Path, InternalPath: r.InternalPath,
			DomainName: r.DomainName, Namespace: r.Namespace, Tags: r.Tags, Status: r.Status, Logo: r.Logo,
		}
	}
	return made
}
